"""Dead letters: how many may be, and each is replayed at most once for ever."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented there
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from consumer.config import load_settings
from consumer.errors import ProducerFenced
from consumer.kafka.control import Control
from consumer.kafka.excerpt import Excerpt
from consumer.kafka.replayer import Copy, Replayer
from consumer.kafka.topics import TopicAdmin
from consumer.sandbox.demo.service_process import run_command
from tests.integration.shop import NOON, ask, item, purchase, wait_for

if TYPE_CHECKING:
    from tests.integration.shop import Shop

# Each starts the service, whose first batch compiles.
pytestmark = pytest.mark.timeout(240)

MANY = [item(f"Category {number}", 1) for number in range(5)]
LARGE = [item("x" * 30_000, 1), *MANY]


def limit_dead_letters(shop: Shop, size: int) -> None:
    """Let the topic of dead letters take small records only."""
    name = load_settings(shop.config).topics.dead_letters
    entry = ConfigEntry(
        "max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": shop.kafka.bootstrap})
    admin.incremental_alter_configs([resource])[resource].result(10)


def listed(capsys: pytest.CaptureFixture[str], shop: Shop) -> list[dict[str, Any]]:
    """Give all dead letters."""
    code, out, err = ask(capsys, shop.config, "dead-letters", "list", "--json")
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def replay(capsys: pytest.CaptureFixture[str], shop: Shop, *more: str) -> str:
    """Replay, and return what was said."""
    code, out, err = ask(capsys, shop.config, "dead-letters", "replay", *more)
    assert code == 0, err
    return out


def test_what_was_mended_is_replayed_once_for_ever(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any horizon, letters that were cut included; dry runs write nothing."""
    shop.change(
        "[attributes.orders]", '[aggregate]\ndeduplicate = "0s"\n[attributes.orders]'
    )
    limit_dead_letters(shop, 5_000)
    shop.send(purchase(1), purchase(2, items=MANY), purchase(3, items=LARGE), b"\1")
    with shop.running("--stage", "aggregate") as service:
        wait_for(service, "pos_consumer_records_total", 4)
        assert service.drain(60) == 0
    letters = listed(capsys, shop)
    assert [one["reason"] for one in letters].count("too_many_keys") == 2
    assert [one["whole"]["bytes"] > 30_000 for one in letters if "whole" in one] == [
        True
    ]

    shop.change("max_keys = 4", "max_keys = 400")
    assert "Would replay 3 dead letters" in replay(capsys, shop, "--dry-run")
    assert "Would replay 1 dead letters: 1 bad_magic" in replay(
        capsys, shop, "--dry-run", "--reason", "bad_magic"
    )
    assert "Would replay 0 dead letters" in replay(
        capsys, shop, "--dry-run", "--partition", "1"
    )
    words = replay(capsys, shop, "--reason", "too_many_keys")
    assert "Replayed 2 dead letters: 2 too_many_keys." in words
    words = replay(capsys, shop)
    assert "Replayed 1 dead letters: 1 bad_magic." in words
    assert "Left alone 2: 2 replayed before." in words

    with shop.running("--stage", "aggregate") as service:
        wait_for(service, "pos_consumer_records_total", 3)
        assert service.drain(60) == 0
    again = listed(capsys, shop)
    assert len(again) == 4
    copy = max(again, key=lambda one: one["origin"]["offset"])
    names = {name for name, _ in copy["headers"]}
    assert copy["reason"] == "bad_magic"
    assert "pos-consumer-origin-offset" in names
    code, out, _ = ask(capsys, shop.config, "explain", "ann", "--json", "--events")
    assert code == 0
    found = json.loads(out)
    sent = {one["name"]: one["sent"] for one in found["profile"]["attributes"]}
    assert (sent["orders"], sent["net_revenue"]) == ("3", "60.00")
    assert found["events"]["differing"] == []
    assert found["events"]["counts"] == {"folded": 3, "dead_lettered": 4}


def test_what_the_rekey_stage_refused_is_replayed_to_its_source_once(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """The copy is rekeyed like any record, and a second replay finds nothing to do."""
    shop.change("[attributes.orders]", 'key = "other"\n[attributes.orders]')
    run_command(shop.config, "topics", "create")
    shop.send(purchase(1), purchase(2, "a+nn"), purchase(3, "a+nn"), b"\1", key="till")
    _rekeyed_and_folded(shop, 1)
    refused = sorted(
        (one["reason"], one["origin"]["topic"]) for one in listed(capsys, shop)
    )
    assert refused == [
        ("bad_magic", shop.topic),
        ("invalid_visitor", shop.topic),
        ("invalid_visitor", shop.topic),
    ]
    shop.change(
        'key = "other"\n',
        'key = "other"\n[purchases.fields]\n'
        "visitor_id = \"REPLACE(visitor_id, '+', '')\"\n",
    )
    words = replay(capsys, shop, "--reason", "invalid_visitor")
    assert "Replayed 2 dead letters: 2 invalid_visitor." in words
    again = replay(capsys, shop, "--reason", "invalid_visitor")
    assert "Replayed 0 dead letters." in again
    assert "Left alone 2: 2 replayed before." in again
    _rekeyed_and_folded(shop, 2)
    assert len(listed(capsys, shop)) == 3
    code, out, _ = ask(capsys, shop.config, "explain", "ann", "--json")
    assert code == 0
    sent = {
        one["name"]: one["sent"] for one in json.loads(out)["profile"]["attributes"]
    }
    assert (sent["orders"], sent["net_revenue"]) == ("3", "60.00")
    # Nor does whoever begins anew count a copy twice: originals were never rekeyed.
    settings = load_settings(shop.config)
    with Excerpt(settings, settings.topics.purchases) as excerpt:
        found = [part for n in excerpt.partitions() for part in excerpt.read(n)]
    values = [value or b"" for part in found for value in part.values]
    assert sorted(values) == sorted(
        [purchase(1), purchase(2, "a+nn"), purchase(3, "a+nn")]
    )


def _rekeyed_and_folded(shop: Shop, count: int) -> None:
    """Run one stage, then the other, until both have taken so many records more."""
    for stage, name in (("rekey", "rekeyed_records"), ("aggregate", "records")):
        with shop.running("--stage", stage) as service:
            wait_for(service, f"pos_consumer_{name}_total", count)
            assert service.drain(60) == 0


def test_too_many_in_a_row_halt_their_partition_until_the_limit_is_raised(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many as allowed are kept; a restart lets no more pass; then all go."""
    shop.change("[target]", "[dead_letters]\nmax_in_a_row = 3\n[target]")
    shop.send(purchase(1), *[b"\1"] * 5, purchase(2))
    shop.send(purchase(3, "bob"), key="bob", partition=1)
    halted = {"reason": "too_many_dead_letters", "partition": "0"}
    for records in (5, 0):
        with shop.running("--stage", "aggregate") as service:
            wait_for(service, "pos_consumer_partition_halted", 1, **halted)
            wait_for(service, "pos_consumer_records_total", records)
            assert service.drain(60) == 0
        assert len(listed(capsys, shop)) == 3
    shop.change("max_in_a_row = 3", "max_in_a_row = 30")
    with shop.running("--stage", "aggregate") as service:
        wait_for(service, "pos_consumer_records_total", 3)
        assert service.drain(60) == 0
    assert len(listed(capsys, shop)) == 5


def test_a_replay_that_was_overtaken_has_written_nothing(shop: Shop) -> None:
    """Who begins to replay fences who was replaying: copies and notes go together."""
    settings = load_settings(shop.config)
    topic_id = TopicAdmin(settings).states([shop.topic])[shop.topic].topic_id
    copy = Copy(0, 7, NOON, b"ann", b"broken", [("pos-consumer-origin-offset", b"7")])
    overtaken, newer = Replayer(settings), Replayer(settings)
    with pytest.raises(ProducerFenced):
        overtaken.write(shop.topic, topic_id, [copy], 1.0)
    overtaken.close()
    assert Control(settings).read().replayed(topic_id, 0) == {}
    newer.write(shop.topic, topic_id, [copy], 2.0)
    newer.close()
    noted = Control(settings).read().replayed(topic_id, 0)
    with Excerpt(settings, shop.topic) as excerpt:
        # A commit is answered a moment before it can be read.
        while not (found := [*excerpt.read(0)]):
            pass
    (records,) = found
    assert list(records.values) == [b"broken"]
    assert records.timestamps.tolist() == [NOON]
    assert records.headers(0) == copy.headers
    assert noted == {7: int(records.offsets[0])}
