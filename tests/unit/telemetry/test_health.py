"""Health tells a stalled loop from a missing broker from a halted partition."""

from __future__ import annotations

from consumer.telemetry.health import Health


def test_a_component_is_not_ready_until_it_says_so() -> None:
    """A replica takes no place in a rollout before it works."""
    health = Health()
    component = health.component("aggregate")
    assert not health.readiness().ready
    component.wait("no broker answered")
    assert health.readiness().waiting == {"aggregate": "no broker answered"}
    component.ready()
    assert health.readiness().ready
    assert health.readiness().word == "ready"


def test_a_halted_partition_degrades_and_does_not_unready() -> None:
    """One partition's problem takes no replica out of service."""
    health = Health()
    component = health.component("aggregate")
    component.ready()
    component.degrade({"partition 3": "its key is not its visitor"})
    readiness = health.readiness()
    assert readiness.ready
    assert readiness.word == "degraded"
    reasons = {"aggregate: partition 3": "its key is not its visitor"}
    assert readiness.degraded == reasons
    component.degrade({})
    assert health.readiness().word == "ready"


def test_a_loop_is_stalled_only_after_its_own_time() -> None:
    """Each loop states how long it may rest."""
    health = Health()
    health.component("slow", stalled_after=60).beat(100)
    health.component("fast", stalled_after=5).beat(100)
    assert health.liveness(105).alive
    liveness = health.liveness(110)
    assert not liveness.alive
    assert liveness.stalled == {"fast": 10}


def test_a_loop_that_never_started_or_has_ended_does_not_kill() -> None:
    """Waiting for a broker, or an orderly end, is no stall."""
    health = Health()
    loop = health.component("aggregate", stalled_after=5)
    assert health.liveness(1_000).alive
    loop.beat(0)
    loop.stop_watching()
    assert health.liveness(1_000).alive
    assert health.heartbeats() == {}


def test_not_being_ready_does_not_make_it_dead() -> None:
    """A broker's outage restarts nothing."""
    health = Health()
    loop = health.component("upload", stalled_after=5)
    loop.beat(10)
    loop.wait("the broker is away")
    assert health.liveness(11).alive
