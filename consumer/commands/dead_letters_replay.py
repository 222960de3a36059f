"""`pos-consumer dead-letters replay`: refused records once more, when all is mended."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Final

import typer

from consumer.commands.letter_filter import (
    LetterFilter,
    Partitions,
    Reasons,
    Since,
    Until,
    open_letters,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from consumer.config import Settings
    from consumer.events.letters import Letter
    from consumer.kafka.replayer import Copy
    from consumer.stages.replay import Choice, Source

MOST_RECORDS: Final = 2_000  # of one transaction
MOST_BYTES: Final = 16_000_000

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be replayed; write nothing.")
]


def replay(
    context: typer.Context,
    reason: Reasons = None,
    partition: Partitions = None,
    since: Since = None,
    until: Until = None,
    dry_run: DryRun = False,
) -> None:
    """Write refused records to their topic once more, each at most once for ever.

    With --dry-run, tell how many there are and what they would become by the schemas
    and the configuration of now.

    Mend first what they were refused for: they go the same way as before. Key, value,
    headers and timestamp are the original's; headers that begin with
    `pos-consumer-origin-` tell where the original lies.
    """
    from contextlib import ExitStack

    from consumer.kafka.excerpt import Excerpt
    from consumer.kafka.replayer import Replayer
    from consumer.stages.replay import Choice

    settings = settings_of(context)
    meant = LetterFilter.of(reason, partition, since, until)
    replayed: Counter[str] = Counter()
    left: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    with ExitStack() as stack:
        # First of all: who replayed until now can commit no more, so what is read from
        # here on is all that has been replayed.
        writer = None if dry_run else Replayer(settings)
        if writer is not None:
            stack.callback(writer.close)
        sources = _sources(settings)
        opened = {
            topic: stack.enter_context(Excerpt(settings, topic)) for topic in sources
        }
        choice = Choice(sources, lambda topic, *place: opened[topic].one(*place))
        letters = meant.read(stack.enter_context(open_letters(settings)))
        for topic, copies in _batches(_chosen(choice, letters, replayed, left)):
            if writer is not None:
                writer.write(topic, sources[topic].topic_id, copies, time.time())
            else:
                outcomes.update(foreseen(settings, copies))
    _print(replayed, left, dry_run=dry_run)
    if outcomes:
        words = _listed(outcomes).removeprefix(": ")
        typer.echo(f"They would become, leaving repeats aside: {words}.")


def foreseen(settings: Settings, copies: Sequence[Copy]) -> Counter[str]:
    """Work copies as the service would, on an empty store; count what they become."""
    import numpy as np

    from consumer.frames import Records
    from consumer.kafka.topics import MAX_RECORD_BYTES
    from consumer.loading import load_plan
    from consumer.stages.preview import preview

    ordered = sorted(copies, key=lambda one: (one.partition, one.origin))
    headers = [
        [(k, v.encode() if isinstance(v, str) else v) for k, v in one.headers]
        for one in ordered
    ]
    records = Records(
        np.array([one.partition for one in ordered], np.int32),
        np.array([one.origin for one in ordered], np.int64),
        np.array([one.timestamp for one in ordered], np.int64),
        [one.key for one in ordered],
        [one.value for one in ordered],
        headers.__getitem__,
    )
    plan, schemas = load_plan(settings)
    found = preview(settings, plan, schemas, records, largest_record=MAX_RECORD_BYTES)
    return Counter(
        f"{one.outcome} ({one.reason})" if one.reason else one.outcome
        for one in found.records
    )


def _sources(settings: Settings) -> dict[str, Source]:
    """Describe the topics that letters come from, and what was replayed to them."""
    from consumer.kafka.control import Control
    from consumer.kafka.topics import Cluster, TopicAdmin
    from consumer.stages.replay import Source

    topics = settings.topics
    names = [*{topics.purchases, topics.source}]
    cluster = Cluster.of(TopicAdmin(settings).states(names))
    view = Control(settings).read()
    return {
        name: Source(
            topic_id,
            cluster.largest_records[name],
            {
                number: view.replayed(topic_id, number)
                for number in range(cluster.partitions[name])
            },
        )
        for name, topic_id in cluster.topic_ids.items()
    }


def _chosen(
    choice: Choice,
    letters: Iterable[Letter],
    replayed: Counter[str],
    left: Counter[str],
) -> Iterator[tuple[str, Copy]]:
    """Give topic and copy of each letter, and count: by reason, or by why not."""
    for letter in letters:
        found = choice.of(letter)
        if isinstance(found, str):
            left[found] += 1
        else:
            replayed[letter.reason] += 1
            yield found


def _batches(found: Iterator[tuple[str, Copy]]) -> Iterator[tuple[str, list[Copy]]]:
    """Gather copies of one topic for one transaction, bounded in number and bytes."""
    gathered: dict[str, list[Copy]] = {}
    sizes: Counter[str] = Counter()
    for topic, copy in found:
        gathered.setdefault(topic, []).append(copy)
        sizes[topic] += len(copy.value or b"")
        if len(gathered[topic]) >= MOST_RECORDS or sizes[topic] >= MOST_BYTES:
            yield topic, gathered.pop(topic)
            del sizes[topic]
    yield from gathered.items()


def _print(replayed: Counter[str], left: Counter[str], *, dry_run: bool) -> None:
    did = "Would replay" if dry_run else "Replayed"
    typer.echo(f"{did} {replayed.total():,} dead letters{_listed(replayed)}.")
    if left:
        typer.echo(f"Left alone {left.total():,}{_listed(left)}.")
    if replayed and not dry_run:
        typer.echo(
            "They go the same way as before: `pos-consumer dead-letters list --since "
            "5m` tells what is refused again."
        )


def _listed(counts: Counter[str]) -> str:
    words = [f"{count:,} {name}" for name, count in counts.most_common()]
    return f": {', '.join(words)}" if words else ""
