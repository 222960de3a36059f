"""Which dead letters a command is about: its options, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands import config_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from consumer.config import Settings
    from consumer.events.letters import Letter
    from consumer.kafka.excerpt import Excerpt

A_TIME = 'a time with its offset ("2026-01-31T08:00Z") or how long ago ("24h")'

Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", help="Only this reason; may be given several times."),
]
Partitions = Annotated[
    list[int] | None,
    typer.Option("--partition", help="Only this partition; may be given repeatedly."),
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help=f"Refused at or after {A_TIME}.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Refused before it.")]


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters; times in milliseconds since the epoch, None is no limit."""

    reasons: Collection[str]
    partitions: Collection[int]
    since: int | None
    until: int | None

    @classmethod
    def of(
        cls,
        reasons: list[str] | None,
        partitions: list[int] | None,
        since: str | None,
        until: str | None,
    ) -> LetterFilter:
        """Read the options; `BadParameter` for a time that is none."""
        return cls(
            reasons or (),
            partitions or (),
            _time("--since", since),
            _time("--until", until),
        )

    def read(self, excerpt: Excerpt) -> Iterator[Letter]:
        """Read the dead letters that are meant, by partition and offset."""
        from consumer.events.letters import letters

        for number in excerpt.partitions():
            if self.partitions and number not in self.partitions:
                continue
            start = (
                None if self.since is None else excerpt.offset_at(number, self.since)
            )
            if self.since is not None and start is None:
                continue
            for records in excerpt.read(number, start):
                yield from filter(self._meant, letters(records))

    def _meant(self, letter: Letter) -> bool:
        early = self.since is not None and letter.refused_at < self.since
        late = self.until is not None and letter.refused_at >= self.until
        other = self.reasons and letter.reason not in self.reasons
        return not (early or late or other)


def settings_of(context: typer.Context) -> Settings:
    """Load the configuration, log as it says, and see that a broker answers."""
    from consumer.commands.reaching import reach
    from consumer.config import load_settings
    from consumer.telemetry.logging import configure_logging

    settings = load_settings(config_file(context))
    configure_logging(settings.log)
    reach(settings)
    return settings


def open_letters(settings: Settings) -> Excerpt:
    """Open the topic of dead letters."""
    from consumer.kafka.excerpt import Excerpt

    return Excerpt(settings, settings.topics.dead_letters)


def _time(option: str, text: str | None) -> int | None:
    """Read a time, or a duration back from now, as milliseconds since the epoch."""
    from consumer.config.values import parse_duration

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = datetime.now(UTC) - timedelta(seconds=parse_duration(text))
        except (ValueError, OverflowError):
            raise typer.BadParameter(f"expected {A_TIME}", param_hint=option) from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"expected {A_TIME}", param_hint=option)
    return int(moment.timestamp() * 1000)
