"""Profiles sent anew: on request, and after Target lost them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.sandbox.target import Endpoint, Fault, FaultKind
from consumer.sandbox.target.faults import ALWAYS
from consumer.stages import upload_resync
from tests.simulation.site import HOUR, MINUTE, PARTITIONS, VISITORS, sent, settle, site

if TYPE_CHECKING:
    from tests.simulation.world import World


def done(world: World, request_id: str) -> int:
    """Return how many rows of a request are reported as accepted."""
    return sum(one.done for one in world.control.view.progress(request_id).values())


async def ended(world: World, request_id: str, minutes: int = 60) -> None:
    """Let time pass until a request has ended everywhere."""
    for _ in range(minutes):
        [request] = [r for r in world.control.view.requests() if r.id == request_id]
        if world.control.view.ended(request):
            return
        await world.clock.run_for(MINUTE)
    message = "the request does not end"
    raise AssertionError(message)


async def test_all_profiles_are_sent_anew_on_request() -> None:
    """Each visitor once, with the progress told by each partition's owner."""
    async with site(replicas=2) as world:
        now = world.clock.now()
        request = world.request({"all": True})
        await ended(world, request.id)
        assert sorted(sent(world, now)) == sorted(world.versions)
        reports = world.control.view.progress(request.id)
        assert sorted(reports) == [*range(PARTITIONS)]
        assert {one.state for one in reports.values()} == {"done"}
        assert sum(one.done for one in reports.values()) == VISITORS
        assert all(one.done == one.total for one in reports.values())
        await settle(world)
        assert world.behind() == {}


async def test_only_the_visitors_asked_for_are_sent() -> None:
    """Those that are listed; a visitor without a profile is nobody's."""
    async with site() as world:
        now = world.clock.now()
        request = world.request({"visitors": ["v-7", "v-8", "nobody"]})
        await ended(world, request.id)
        assert sorted(sent(world, now)) == ["v-7", "v-8"]


async def test_only_profiles_that_have_not_changed_for_so_long_are_sent() -> None:
    """A profile that changed lately was sent lately."""
    async with site() as world:
        await world.clock.run_for(HOUR)
        for number in range(100):
            world.change(f"v-{number}")
        await settle(world)
        now = world.clock.now()
        request = world.request({"older_than": HOUR / 2})
        await ended(world, request.id)
        assert sorted(sent(world, now)) == sorted(
            f"v-{number}" for number in range(100, VISITORS)
        )


@pytest.mark.parametrize("replicas", [1, 3])
async def test_a_newer_row_is_never_overtaken(replicas: int) -> None:
    """Live changes, rebalances and a crash while everything is sent anew, twice."""
    async with site(replicas=replicas, delivery={"confirm_timeout": "5m"}) as world:
        world.order(
            Fault(FaultKind.SLOW, calls=ALWAYS, probability=0.3, seconds=200.0),
            Fault(FaultKind.HTTP_500, calls=ALWAYS, probability=0.1),
            Fault(FaultKind.NO_ANSWER, calls=ALWAYS, probability=0.05),
        )
        requests = []
        for minute in range(20):
            if minute in {2, 5}:
                requests.append(world.request({"all": True}))
            for _ in range(40):
                world.change(f"v-{world.random.randrange(VISITORS)}")
            await world.clock.run_for(MINUTE)
            if minute % 4 == 3:
                await world.share(replicas)
            if minute == 9:
                await world.crash(0)
        world.account.faults.cancel()
        for request in requests:
            await ended(world, request.id)
        await settle(world, 300)
        assert world.behind() == {}
        assert_versions_rise(world)


def assert_versions_rise(world: World) -> None:
    """No upload of a visitor carries an older version than one of an earlier call.

    A row that is sent again after an unclear end is the latest, too.
    """
    seen: dict[str, int] = {}
    for row in world.account.journal.rows():
        version = int(row.attributes["version_seen"])
        assert version >= seen.get(row.visitor, 0), row
        seen[row.visitor] = version


async def test_a_request_is_resumed_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A new owner sends what its predecessor had not seen accepted, not all again."""
    monkeypatch.setattr(upload_resync, "PART_ROWS", 5)
    monkeypatch.setattr(upload_resync, "FILES_AHEAD", 1)
    async with site(batch={"max_rows": 10, "max_age": "5s"}) as world:
        now = world.clock.now()
        request = world.request({"all": True})
        while done(world, request.id) < 90:
            await world.clock.run_for(5)
        assert not world.control.view.ended(request)
        await world.crash(0)
        await ended(world, request.id)
        again = sent(world, now)
        assert set(again) == set(world.versions)
        assert len(again) < VISITORS + 60
        assert done(world, request.id) == VISITORS


async def test_what_target_refused_is_tried_again_on_request() -> None:
    """A row that was put down goes out once more, and stays if Target takes it."""
    async with site() as world:
        refuse = Fault(
            FaultKind.UNSUCCESSFUL, calls=ALWAYS, visitor="v-7", message="Bad row"
        )
        world.order(refuse)
        for number in range(20):
            world.change(f"v-{number}")
        await settle(world)
        assert [row.visitor for row in world.rejected.rows] == ["v-7"]
        assert list(world.behind()) == ["v-7"]
        world.account.faults.cancel()
        await ended(world, world.request({"visitors": ["v-7"]}).id)
        await settle(world)
        assert world.behind() == {}


async def test_a_request_that_is_taken_back_ends() -> None:
    """Removed from the control topic, nothing more is sent for it."""
    async with site(batch={"max_rows": 10, "max_age": "5s"}) as world:
        now = world.clock.now()
        request = world.request({"all": True})
        await world.clock.run_for(20)
        world.control.remove([request.key])
        await settle(world)
        first = len(sent(world, now))
        await world.clock.run_for(HOUR)
        assert len(sent(world, now)) == first < VISITORS


async def test_a_request_that_nobody_understands_fails() -> None:
    """It ends, with the word for it, and others go on."""
    async with site() as world:
        bad, good = world.request({"some": 7}), world.request({"visitors": ["v-1"]})
        await ended(world, bad.id)
        await ended(world, good.id)
        reports = world.control.view.progress(bad.id).values()
        assert {one.state for one in reports} == {"failed"}


async def test_live_rows_go_on_beside_a_request() -> None:
    """A change waits for the file under way, not for the whole of what is sent anew."""
    async with site(batch={"max_rows": 20, "max_age": "5s"}) as world:
        world.request({"all": True})
        await world.clock.run_for(2)
        now = world.clock.now()
        world.change("someone-new")
        await world.clock.run_for(MINUTE)
        assert "someone-new" in sent(world, now)[: VISITORS // 2]


def looked_up(world: World) -> dict[str, float]:
    """Return what the metric says about the rows that were looked up."""
    [metric] = world.replicas[0].metrics.sampled_rows.collect()
    return {sample.labels["found"]: sample.value for sample in metric.samples}


async def test_rows_that_target_lost_are_found_counted_and_sent_again() -> None:
    """Told as complete, never there: a fetch shows it."""
    async with site(delivery={"sample": 1.0}) as world:
        world.order(Fault(FaultKind.SWALLOWED, rows=2))
        for number in range(8):
            world.change(f"v-{number}")
        await settle(world)
        assert len(world.behind()) == 2
        await world.clock.run_for(3 * HOUR)
        assert world.behind() == {}
        found = looked_up(world)
        assert found["lost"] == 2
        assert found["present"] >= 8
        assert world.account.journal.count(Endpoint.FETCH) <= 50


async def test_a_row_that_a_newer_one_has_replaced_is_not_lost() -> None:
    """Only what nobody has overwritten says something about losses."""
    async with site(delivery={"sample": 1.0}) as world:
        world.change("v-1")
        await settle(world)
        world.change("v-1")
        await world.clock.run_for(3 * HOUR)
        found = looked_up(world)
        assert found["lost"] == 0
        assert found["superseded"] >= 1
