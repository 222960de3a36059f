"""Attributes computed anew beside a running service, and switched over."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from confluent_kafka import TopicPartition

from consumer.config import load_settings
from consumer.kafka.control import Control
from consumer.sandbox.accumulators import DEMO_ATTRIBUTES
from consumer.sandbox.demo.reconcile import profile_rows
from consumer.sandbox.demo.topics import Topics
from consumer.sandbox.demo.work import SCHEMA_ID
from consumer.sandbox.purchases.produce import produce
from consumer.sandbox.purchases.read_back import read_back
from consumer.sandbox.purchases.schema import SCHEMA
from consumer.sandbox.purchases.spec import Spec
from consumer.sandbox.recount import Record, recount
from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.server import TargetSandbox
from tests.integration.replicas import (
    Replica,
    Replicas,
    command,
    folded,
    ready,
    until,
)
from tests.integration.test_rolling_update import latest, prepared, uploaded

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka.admin import AdminClient

    from consumer.sandbox.kafka import EmbeddedKafka

EVENTS = 90_000
RATE = 1_500.0
UNITS, DOUBLE = 'of = "quantity"\n', 'of = "quantity * 2"\n'
STORES = '[attributes.distinct_stores]\naggregate = "distinct"\nof = "store_id"\n'
BY_TYPE = STORES.replace('"store_id"', '"store_id || event_type"')


def changed() -> list[Any]:
    """Give the recount's attributes as the rebuilt configuration has them."""
    return [
        dataclasses.replace(one, of=lambda row: row["quantity"] * 2)
        if one.name == "units"
        else dataclasses.replace(one, of=lambda r: r["store_id"] + r["event_type"])
        if one.name == "distinct_stores"
        else one
        for one in DEMO_ATTRIBUTES
    ]


def run(replica: Replica, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as a user would."""
    how = [sys.executable, "-m", "consumer", "-c", str(replica.work.config)]
    return subprocess.run(
        [*how, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def topics_of(admin: AdminClient, application: str) -> list[str]:
    """List the topics that rebuilds of an application have left."""
    found = admin.list_topics(timeout=10).topics
    return [name for name in found if name.startswith(f"{application}-rebuild-")]


@pytest.mark.timeout(420)
async def test_killed_at_every_turn_it_counts_each_purchase_once(
    kafka: EmbeddedKafka, admin: AdminClient, tmp_path: Path
) -> None:
    """Two attributes change under traffic; the others are carried over.

    The rebuild is killed while it computes, an owner while it switches over, another
    while it joins. In the end profiles and Target equal the recount by the new
    definitions, no version is missing or repeated, and nothing of the rebuild is left.
    """
    topic = "rebuild-purchases"
    async with TargetSandbox(TargetOptions(calls_per_minute=10_000)) as target:
        with Replicas(
            tmp_path,
            bootstrap=kafka.bootstrap,
            endpoint=target.endpoint,
            application="rebuilt",
            topic=topic,
        ) as replicas:
            one = (await prepared(replicas, kafka.bootstrap, topic)).start()
            two = replicas.add().start()
            producing = asyncio.create_task(
                asyncio.to_thread(
                    produce,
                    Spec(events=EVENTS, visitors=12_000, seed=21),
                    bootstrap_servers=kafka.bootstrap,
                    topic=topic,
                    rate=RATE,
                )
            )
            for replica in (one, two):
                await until(replica, ready, "a replica is not ready")
            await asyncio.sleep(10.0)
            for replica in (one, two):
                replica.change(UNITS, DOUBLE)
                replica.change(STORES, BY_TYPE)
            log = tmp_path / "rebuild.log"
            for failpoint in ("after-produce:2", "after-commit:2", ""):
                rebuild = command(
                    one.work, "rebuild", "--yes", failpoint=failpoint, log=log
                )
                rebuild.start()
                if failpoint:
                    assert await asyncio.to_thread(rebuild.wait, 60.0) == -9, log
                    rebuild.close()
            try:
                await _announced(one)
                await one.drain()
                # After the transaction that switches over, before the store has it.
                one.start(failpoint="after-commit:1")
                assert await one.ended() == -9
                one.start(failpoint="after-produce:3")
                assert await one.ended() == -9
                await until(one.start(), ready, "a replica is not ready")
                await two.drain()
                await until(two.start(), ready, "a replica is not ready")
                assert await asyncio.to_thread(rebuild.wait, 90.0) == 0, log
            finally:
                rebuild.close()
            await producing
            await folded(kafka.bootstrap, "rebuilt", topic)
            with Topics(kafka.bootstrap, "rebuilt") as topics:
                await uploaded(topics)
                letters = await asyncio.to_thread(topics.dead_letters)
            for replica in (one, two):
                await replica.drain()
            records = [*await asyncio.to_thread(_read, kafka.bootstrap, topic)]
            recounted = recount(records, changed(), {SCHEMA_ID: SCHEMA})
            stored = await asyncio.to_thread(latest, one)
        shown = dict(target.profiles())
    rows, wrong = profile_rows(recounted, shown)
    assert not wrong, wrong[:3]
    assert all(row.agrees for row in rows), rows
    assert {v: row for v, (row, _) in stored.items()} == recounted.profiles
    assert dict(letters) == dict(recounted.dead_letters)
    assert not target.journal.violations
    assert topics_of(admin, "rebuilt") == []


@pytest.mark.timeout(420)
async def test_running_replicas_take_a_rebuild_over_without_a_restart(
    kafka: EmbeddedKafka, admin: AdminClient, tmp_path: Path
) -> None:
    """An unchanged attribute is computed anew; states are the same, byte for byte.

    History that retention has cut is not shortened unless that is allowed.
    """
    topic = "again-purchases"
    async with TargetSandbox(TargetOptions(calls_per_minute=10_000)) as target:
        with Replicas(
            tmp_path,
            bootstrap=kafka.bootstrap,
            endpoint=target.endpoint,
            application="again",
            topic=topic,
        ) as replicas:
            one = (await prepared(replicas, kafka.bootstrap, topic)).start()
            await asyncio.to_thread(
                produce,
                Spec(events=12_000, visitors=800, seed=22),
                bootstrap_servers=kafka.bootstrap,
                topic=topic,
            )
            await folded(kafka.bootstrap, "again", topic)
            before = await asyncio.to_thread(_states, one)
            assert len(before) > 500
            none = await asyncio.to_thread(run, one, "rebuild", "--yes")
            assert none.returncode == 1
            assert "No attribute has changed" in none.stderr
            dry = await asyncio.to_thread(run, one, "rebuild", "units", "--dry-run")
            assert dry.returncode == 0
            assert "Computed anew from earliest: units." in dry.stderr
            assert topics_of(admin, "again") == []
            done = await asyncio.to_thread(
                run, one, "rebuild", "units", "favourite_category", "--yes", "--json"
            )
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["generation"] == 2
            after = await asyncio.to_thread(_states, one)
            assert after.keys() == before.keys()
            for visitor, (header, states) in after.items():
                was, same = before[visitor]
                assert states == same, visitor
                assert header["version"] == was["version"] + 1
                assert header["generation"] == 2
            assert topics_of(admin, "again") == []
            status = await asyncio.to_thread(run, one, "rebuild", "--status", "--json")
            assert json.loads(status.stdout) == {"state": "none"}

            cut = dict.fromkeys(range(8), 300)
            places = [TopicPartition(topic, p, at) for p, at in cut.items()]
            for future in admin.delete_records(places).values():
                future.result(timeout=10)
            refused = await asyncio.to_thread(run, one, "rebuild", "orders", "--yes")
            assert refused.returncode == 1
            assert "would shorten history" in refused.stderr
            assert "--allow-truncated-history" in refused.stderr
            allowed = await asyncio.to_thread(
                run,
                one,
                *("rebuild", "orders", "--yes", "--allow-truncated-history"),
            )
            assert allowed.returncode == 0, allowed.stderr
            await folded(kafka.bootstrap, "again", topic)
            await one.drain()
            final = await asyncio.to_thread(latest, one)
            left = await asyncio.to_thread(_read, kafka.bootstrap, topic)
            shorter = recount(left, DEMO_ATTRIBUTES, {SCHEMA_ID: SCHEMA})
    for visitor, (row, _) in final.items():
        expected = dict(shorter.profiles.get(visitor, {})).get("orders")
        assert row.get("orders") == expected, visitor


def _read(bootstrap: str, topic: str) -> list[Record]:
    return [*read_back(bootstrap, topic)]


async def _announced(replica: Replica) -> None:
    """Wait until the rebuild's generation is there to be taken over."""
    control = Control(load_settings(replica.work.config))
    try:
        for _ in range(120):
            view = await asyncio.to_thread(control.read)
            if any(one.rebuild for one in view.generations):
                return
            await asyncio.sleep(0.5)
    finally:
        control.close()
    pytest.fail("the rebuild was not announced")


def _states(replica: Replica) -> dict[str, tuple[dict[str, Any], bytes]]:
    """Give each visitor's header, and the bytes of all attributes as they are kept."""
    from consumer.loading import load_plan
    from consumer.profiles.record import HEADER, ProfileCodec, ProfileSchema

    settings = load_settings(replica.work.config)
    plan, _ = load_plan(settings)
    codec = ProfileCodec(ProfileSchema.of(plan))
    found = {}
    names = [name for name, _ in HEADER]
    blank = {"version": 0, "generation": 0}
    for visitor, (_, raw) in latest(replica).items():
        (row,) = codec.decode([raw]).to_pylist()
        header = {name: row[name] for name in names}
        batch = pa.RecordBatch.from_pylist([row | blank], schema=codec.schema)
        found[visitor] = header, codec.encode(batch)[0]
    return found
