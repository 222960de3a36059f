"""Dead letters back to where they came from: which of them, and as what. Pure.

Enters: a dead letter, and what has been replayed before. Leaves: a copy for the topic
that it was refused in, with the original key, value, headers and timestamp, and with
headers that say where the original lies; or why it is left alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consumer.events.dead_letters import PREFIX, size
from consumer.kafka.replayer import Copy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.events.dead_letters import Headers
    from consumer.events.letters import Kept, Letter
    from consumer.frames import Records

ORIGIN: Final = f"{PREFIX}origin-"
NOT_OURS: Final = "not written by this service"
OTHER_TOPIC: Final = "refused in another topic than the present ones"
AGAIN: Final = "replayed before"
GONE: Final = "cut, and the original is no longer in its topic"
TOO_LARGE: Final = "too large for its topic together with its origin"


@dataclass(frozen=True, slots=True)
class Source:
    """A topic that dead letters come from: its id, its limit, what was replayed."""

    topic_id: str
    largest: int
    replayed: Mapping[int, Mapping[int, int]]


class Choice:
    """Makes copies of letters, one by one."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        fetch: Callable[[str, int, int], Records | None],
    ) -> None:
        """Replay to `sources`, by topic; `fetch` reads one record of such a topic."""
        self._sources = sources
        self._fetch = fetch
        self._chosen: set[tuple[str, int, int]] = set()

    def of(self, letter: Letter) -> tuple[str, Copy] | str:
        """Give a letter's topic and copy, or why there is none."""
        kept = letter.kept
        if kept is None:
            return NOT_OURS
        source = self._sources.get(kept.topic)
        if source is None or source.topic_id != kept.topic_id:
            return OTHER_TOPIC
        place = kept.topic, kept.partition, kept.offset
        replayed = source.replayed.get(kept.partition, {})
        if kept.offset in replayed or place in self._chosen:
            return AGAIN
        key, value, own = letter.key, letter.value, kept.headers
        if kept.whole_bytes is not None:
            whole = self._fetch(*place)
            if whole is None or _hash(whole.values[0]) != kept.whole_sha256:
                return GONE
            key, value, own = whole.keys[0], whole.values[0], whole.headers(0)
        headers = [*_without_origin(own), *_origin(kept)]
        if size(key, value, headers) > source.largest:
            return TOO_LARGE
        self._chosen.add(place)
        copy = Copy(kept.partition, kept.offset, kept.timestamp, key, value, headers)
        return kept.topic, copy


def _hash(value: bytes | None) -> str:
    return hashlib.sha256(value or b"").hexdigest()


def _without_origin(own: list[tuple[str, bytes | None]]) -> Headers:
    """Leave out where an earlier copy came from: this one comes from that copy."""
    return [(name, text) for name, text in own if not name.startswith(ORIGIN)]


def _origin(kept: Kept) -> Headers:
    facts = {
        "topic-id": kept.topic_id,
        "partition": str(kept.partition),
        "offset": str(kept.offset),
    }
    return [(ORIGIN + name, text.encode()) for name, text in facts.items()]
