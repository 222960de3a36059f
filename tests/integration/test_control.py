"""The control topic on a real broker: written durably, read whole, followed."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from consumer.clock import ManualClock, SystemClock
from consumer.config import Settings
from consumer.errors import BrokerUnreachable
from consumer.kafka.control import Control
from consumer.kafka.control_follower import (
    KEPT_SECONDS,
    SWEEP_SECONDS,
    ControlFollower,
)
from consumer.kafka.control_records import Generation, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consumer.clock import Clock
    from consumer.kafka.control_records import ControlView
    from consumer.sandbox.kafka import EmbeddedKafka
    from tests.integration.conftest import TopicFactory

PATIENCE = 20.0


@pytest.fixture
def settings(kafka: EmbeddedKafka, topic_factory: TopicFactory) -> Settings:
    """Settings whose control topic is this test's alone."""
    topic = topic_factory("control", config={"cleanup.policy": "compact"})
    return Settings.model_validate(
        {
            "kafka": {"bootstrap.servers": kafka.bootstrap},
            "purchases": {"topic": "purchases", "schemas": "schemas"},
            "control": {"topic": topic},
            "attributes": {"orders": {"aggregate": "count"}},
            "target": {"client": "acme"},
        }
    )


@pytest.fixture
def control(settings: Settings) -> Iterator[Control]:
    """A writer and reader of the topic."""
    with closing(Control(settings)) as made:
        yield made


def whole(control: Control) -> ControlView:
    """Read the topic, again while brokers say that it is too new."""
    while True:
        with suppress(BrokerUnreachable):
            return control.read()
        time.sleep(0.1)


@contextmanager
def following(
    settings: Settings, control: Control, clock: Clock
) -> Iterator[ControlFollower]:
    """Follow on a thread of its own, from what the topic holds now."""
    follower = ControlFollower(settings, control, whole(control), clock)
    thread = threading.Thread(target=follower.run)
    thread.start()
    try:
        yield follower
    finally:
        follower.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_part_of_it_is_never_taken_for_the_whole(control: Control) -> None:
    """A service that is told to stop while it reads has read nothing."""
    control.put(Generation(1, 7, "{}", {"orders": "count"}, 2))
    with pytest.raises(BrokerUnreachable, match="was given up before its end"):
        control.read(lambda: False)


def test_what_was_put_is_read_whole_and_followed(
    settings: Settings, control: Control
) -> None:
    """Whoever starts reads everything; whoever runs sees what comes, and is woken."""
    generation = Generation(1, 7, "{}", {"orders": "count"}, 2)
    early = Request.new("resync", time.time(), 2, {"all": True})
    control.put(generation, early, early.progress(0, "done", time.time()))
    later = Request.new("erase", time.time() + 1, 2, {"visitor": "ü"})
    woken = threading.Event()
    with following(settings, control, SystemClock()) as follower:
        follower.on_change(woken.set)
        before = follower.view
        assert before.generations == [generation]
        assert before.open_requests("resync", 0) == []
        assert before.open_requests("resync", 1) == [early]
        control.put(later)
        assert woken.wait(PATIENCE)
        assert follower.view is not before
        assert follower.view.requests() == [early, later]
        control.remove([later.key])
        until(lambda: follower.view.requests() == [early])
    assert whole(control) == follower.view


def test_an_event_loop_is_woken(settings: Settings, control: Control) -> None:
    """The upload stage sleeps until there is something to do."""

    async def scenario() -> None:
        event = asyncio.Event()
        loop = asyncio.get_running_loop()
        with following(settings, control, SystemClock()) as follower:
            follower.on_change(partial(loop.call_soon_threadsafe, event.set))
            request = Request.new("resync", 1.0, 1, {})
            await asyncio.to_thread(control.put, request)
            await asyncio.wait_for(event.wait(), PATIENCE)
            assert follower.view.requests() == [request]

    asyncio.run(scenario())


def test_what_ended_is_removed_after_an_hour(
    settings: Settings, control: Control
) -> None:
    """By whichever replica is there; what has not ended stays."""
    clock = ManualClock()
    ended = Request.new("resync", clock.now(), 1, {})
    kept = Request.new("resync", clock.now(), 2, {})
    control.put(ended, ended.progress(0, "done", clock.now()))
    control.put(kept, kept.progress(0, "done", clock.now()))
    with following(settings, control, clock) as follower:
        clock.advance(SWEEP_SECONDS + 1)
        time.sleep(1.5)
        assert follower.view.requests() == sorted([ended, kept], key=lambda one: one.id)
        clock.advance(KEPT_SECONDS)
        until(lambda: follower.view.requests() == [kept])
        until(lambda: list(follower.view.progress(ended.id)) == [])
    assert whole(control).requests() == [kept]


def test_a_record_that_nobody_understands_stops_nothing(
    settings: Settings, control: Control
) -> None:
    """The next one is followed all the same."""
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers})
    with following(settings, control, SystemClock()) as follower:
        producer.produce(settings.topics.control, b"\xff", b"request/x", 0)
        producer.flush(10)
        request = Request.new("resync", 1.0, 1, {})
        control.put(request)
        until(lambda: follower.view.requests() == [request])
        assert list(follower.view.unreadable) == ["request/x"]
    producer.close()
