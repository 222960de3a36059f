"""Real and realistic parts to run the service against, for demos and tests.

The service itself never imports this package; commands and tests do. What belongs to
the extra `demo` (a Java runtime, the resolver of Kafka's jars) is imported when used.
"""
