"""The demo's configuration for tests: as many calls as asked for, small files, soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.sandbox.demo.work import configure

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.sandbox.demo.work import Work
    from consumer.sandbox.kafka import EmbeddedKafka
    from consumer.sandbox.target import TargetSandbox

TAKEN_OVER_SOON = """
[kafka.consumer]
"session.timeout.ms" = 6000
"heartbeat.interval.ms" = 1000
"""


def quick_work(  # noqa: PLR0913 - what differs between tests
    folder: Path,
    kafka: EmbeddedKafka,
    target: TargetSandbox,
    *,
    application: str,
    topic: str,
    more: str = "",
) -> Work:
    """Write the configuration; `more` is added to it."""
    work = configure(
        folder,
        bootstrap=kafka.bootstrap,
        endpoint=target.endpoint,
        application=application,
        topic=topic,
        more=more + TAKEN_OVER_SOON,
    )
    text = work.config.read_text(encoding="utf-8")
    for was, shall in (
        ("calls_per_minute = 50", "calls_per_minute = 900"),
        ('max_age = "2s"', 'max_age = "500ms"'),
    ):
        assert was in text
        text = text.replace(was, shall)
    work.config.write_text(text, encoding="utf-8")
    return work
