"""Adobe Target's bulk profile API: rows to batch files, answers to outcomes.

Everything but `client` is pure: no I/O, no clock, no awaiting.
"""
