"""Replicas of two generations of the configuration side by side, on a real broker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from consumer.sandbox.demo.reconcile import profile_rows
from consumer.sandbox.demo.service_process import run_command
from consumer.sandbox.demo.topics import Topics
from consumer.sandbox.demo.work import recount_topic
from consumer.sandbox.purchases.produce import produce
from consumer.sandbox.purchases.spec import Spec
from consumer.sandbox.recount import Recount
from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.server import TargetSandbox
from tests.integration.replicas import (
    Replica,
    Replicas,
    commits,
    folded,
    halted,
    ready,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from consumer.sandbox.kafka import EmbeddedKafka

EVENTS = 80_000
RATE = 2_000.0
ONE = Spec(events=1, visitors=1, seed=8, poison=0, tombstones=0)
FIRST_PURCHASE = """[attributes.first_purchase]
aggregate = "first"
of = "occurred_at"
where = "event_type = 'SALE'"
format = "date"
"""
VISITS = """[attributes.visits]
aggregate = "count"
sentinel = "never"
"""


async def prepared(replicas: Replicas, bootstrap: str, topic: str) -> Replica:
    """Make the topics; gives the first replica."""
    first = replicas.add()
    await asyncio.to_thread(produce, ONE, bootstrap_servers=bootstrap, topic=topic)
    await asyncio.to_thread(run_command, first.work.config, "topics", "create")
    return first


@pytest.mark.timeout(420)
async def test_old_replicas_give_up_what_new_ones_wrote_and_nothing_is_lost(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """Attributes are added and removed replica by replica, while purchases come.

    What an old replica gets back from a new one it halts, in both stages; in the end
    profiles and Target equal the recount, and Target has the added attribute of every
    profile that has it.
    """
    topic = "rolling-purchases"
    async with TargetSandbox(TargetOptions(calls_per_minute=10_000)) as target:
        with Replicas(
            tmp_path,
            bootstrap=kafka.bootstrap,
            endpoint=target.endpoint,
            application="rolling",
            topic=topic,
        ) as replicas:
            old = [
                (await prepared(replicas, kafka.bootstrap, topic)).start(),
                replicas.add().start(),
            ]
            new = replicas.add()
            new.change(FIRST_PURCHASE, VISITS)
            spec = Spec(events=EVENTS, visitors=3_000, seed=11)
            producing = asyncio.create_task(
                asyncio.to_thread(
                    produce,
                    spec,
                    bootstrap_servers=kafka.bootstrap,
                    topic=topic,
                    rate=RATE,
                )
            )
            for one in old:
                await until(one, ready, "an old replica is not ready")
            # Its profiles are uploaded by the old ones, or would be.
            new.start("--stage", "aggregate")
            await until(new, commits, "the new replica commits nothing")
            await new.drain()
            await _given_up(old, "aggregate")
            await _given_up(old, "upload")
            for one in old:
                await one.drain()
                one.change(FIRST_PURCHASE, VISITS)
                await until(one.start(), ready, "a rolled replica is not ready")
            await producing
            with Topics(kafka.bootstrap, "rolling") as topics:
                await folded(kafka.bootstrap, "rolling", topic)
                await uploaded(topics)
                for one in old:
                    assert not halted(await one.metrics(), "aggregate")
                    await one.drain()
                letters = await asyncio.to_thread(topics.dead_letters)
            recounted = await asyncio.to_thread(recount_topic, kafka.bootstrap, topic)
            stored = await asyncio.to_thread(exported, new)
        shown = dict(target.profiles())
    common = without(recounted, "first_purchase")
    rows, wrong = profile_rows(common, _bare(shown))
    assert not wrong
    assert all(row.agrees for row in rows), rows
    assert dict(letters) == dict(recounted.dead_letters)
    assert not target.journal.violations
    for visitor, row in shown.items():
        assert row.get("visits") == stored[visitor].get("visits"), visitor
    counted = [int(row["visits"]) for row in shown.values() if "visits" in row]
    assert 0 < sum(counted) < recounted.outcomes["folded"]


@pytest.mark.timeout(300)
async def test_a_changed_attribute_is_refused_then_reset_once_by_several_replicas(
    kafka: EmbeddedKafka, tmp_path: Path
) -> None:
    """78 names both definitions and the remedies; with the option it starts anew.

    Two replicas with the option start at once, and one starts again with it: the
    attribute begins once, the others keep their history.
    """
    topic = "reset-purchases"
    async with TargetSandbox(TargetOptions(calls_per_minute=10_000)) as target:
        with Replicas(
            tmp_path,
            bootstrap=kafka.bootstrap,
            endpoint=target.endpoint,
            application="reset",
            topic=topic,
        ) as replicas:
            one = (await prepared(replicas, kafka.bootstrap, topic)).start()
            two = replicas.add()
            await asyncio.to_thread(
                produce,
                Spec(events=8_000, visitors=500, seed=12),
                bootstrap_servers=kafka.bootstrap,
                topic=topic,
            )
            await folded(kafka.bootstrap, "reset", topic)
            await one.drain()
            before = await asyncio.to_thread(exported, one)
            for replica in (one, two):
                replica.change('of = "quantity"\n', 'of = "quantity * 2"\n')
            refused = await asyncio.to_thread(_run_to_its_end, one)
            assert refused.returncode == 78
            for part in ('of = "quantity"', 'of = "quantity * 2"', "another name"):
                assert part in refused.stderr
            assert "pos-consumer rebuild units" in refused.stderr
            assert "--reset-attribute units" in refused.stderr

            for replica in (one, two):
                replica.start("--reset-attribute", "units")
            for replica in (one, two):
                await until(replica, ready, "a replica is not ready")
            await asyncio.to_thread(
                produce,
                Spec(events=8_000, visitors=500, seed=13),
                bootstrap_servers=kafka.bootstrap,
                topic=topic,
            )
            await folded(kafka.bootstrap, "reset", topic)
            await two.drain()
            two.start("--reset-attribute", "units")
            await until(two, ready, "the replica is not ready again")
            for replica in (one, two):
                await replica.drain()
            recounted = await asyncio.to_thread(recount_topic, kafka.bootstrap, topic)
            after = await asyncio.to_thread(exported, one)
    assert {v: _but(r, "units") for v, r in after.items()} == {
        v: _but(dict(r), "units") for v, r in recounted.profiles.items()
    }
    for visitor, row in after.items():
        whole = int(recounted.profiles[visitor].get("units", "0"))
        first = int(before.get(visitor, {}).get("units", "0"))
        # A profile that was not written since says nothing about it.
        changed = row != before.get(visitor)
        expected = str(2 * (whole - first)) if changed and "units" in row else None
        assert row.get("units") == expected, visitor


async def _given_up(replicas: Sequence[Replica], stage: str) -> None:
    """Wait until one of them has halted a partition that a newer one has written."""
    for _ in range(150):
        scrapes = [await one.metrics() for one in replicas]
        if any(halted(one, stage, "newer_generation") for one in scrapes):
            return
        await asyncio.sleep(0.2)
    pytest.fail(f"no partition of {stage} was given up")


async def uploaded(topics: Topics) -> None:
    """Wait until Target has taken every profile."""
    for _ in range(150):
        if await asyncio.to_thread(topics.uploaded):
            return
        await asyncio.sleep(0.2)
    pytest.fail("not everything was uploaded")


def _run_to_its_end(replica: Replica) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consumer", "-c", str(replica.work.config), "run"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _but(row: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in row.items() if key != name}


def _bare(shown: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    bare = {v: _but(_but(row, "visits"), "first_purchase") for v, row in shown.items()}
    return {visitor: row for visitor, row in bare.items() if row}


def without(recounted: Recount, name: str) -> Recount:
    """Leave an attribute out of what is expected."""
    profiles = {v: _but(row, name) for v, row in recounted.profiles.items()}
    return Recount(
        profiles, recounted.outcomes, recounted.dead_letters, recounted.conflicts
    )


def exported(replica: Replica) -> dict[str, dict[str, str]]:
    """Render the latest profile of every visitor by a replica's configuration."""
    return {visitor: row for visitor, (row, _) in latest(replica).items()}


def latest(replica: Replica) -> dict[str, tuple[dict[str, str], bytes]]:
    """Give each visitor's latest profile, rendered and as it lies in the topic."""
    from consumer.config import load_settings
    from consumer.kafka.control import Control
    from consumer.kafka.excerpt import Excerpt
    from consumer.loading import load_plan
    from consumer.profiles.record import ProfileCodec, ProfileSchema
    from consumer.profiles.rows import RowRenderer

    settings = load_settings(replica.work.config)
    plan, _ = load_plan(settings)
    codec = ProfileCodec(ProfileSchema.of(plan))
    control = Control(settings)
    generations = control.read().generations
    control.close()
    codec.learn({one.schema_id: one.schema for one in generations})
    codec.begin(generations[-1].number, generations[-1].since)
    renderer = RowRenderer(plan.attributes, codec)
    newest: dict[bytes | None, bytes | None] = {}
    with Excerpt(settings, settings.topics.profiles) as excerpt:
        for number in excerpt.partitions():
            for records in excerpt.read(number):
                newest.update(zip(records.keys, records.values, strict=True))
    values = [value for value in newest.values() if value is not None]
    found = {}
    for row, raw in zip(renderer.rows(values).to_pylist(), values, strict=True):
        shown = {n: row[n] for n in renderer.attributes if row[n] is not None}
        found[row["visitor"]] = shown, raw
    return found
