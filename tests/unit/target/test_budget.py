"""Clock slots: who may call when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumer.target.budget import STATUS_TURN, Slots, next_slot, status_may_go

NOW = st.floats(1.7e9, 1.8e9)
CUT = st.builds(Slots, st.integers(1, 6_000), st.integers(1, 200))


@given(CUT, NOW)
def test_now_lies_in_its_slot(slots: Slots, now: float) -> None:
    """A slot begins at or before the times within it and ends after them."""
    slot = slots.at(now)
    assert slots.start(slot) <= now < slots.start(slot + 1)


@given(CUT, NOW, st.sets(st.integers(0, 199)), st.integers(-1, 50))
def test_the_next_slot_is_owned_unused_and_the_earliest(
    slots: Slots, now: float, owned: set[int], ahead: int
) -> None:
    """No earlier slot would do, and the one found belongs to an owned partition."""
    used = slots.at(now) + ahead - 1
    found = next_slot(slots, now, owned, used)
    mine = {partition for partition in owned if partition < slots.partitions}
    if found is None:
        assert not mine
        return
    first = max(slots.at(now), used + 1)
    candidates = range(first, first + slots.partitions)
    assert found == next(s for s in candidates if s % slots.partitions in mine)


@given(
    st.integers(1, 12),
    st.integers(1, 40),
    st.lists(st.floats(0.0, 3.0), min_size=60, max_size=120),
    st.data(),
)
def test_replicas_together_stay_within_the_budget(
    partitions: int, per_minute: int, pauses: list[float], data: st.DataObject
) -> None:
    """However owners are spread and whenever they call, no minute has too many."""
    slots = Slots(per_minute, partitions)
    owners = data.draw(
        st.lists(st.integers(0, 2), min_size=partitions, max_size=partitions)
    )
    calls = []
    for replica in range(3):
        owned = {p for p, owner in enumerate(owners) if owner == replica}
        now, used = 1.7e9, -1
        for pause in pauses:
            slot = next_slot(slots, now, owned, used)
            if slot is None:
                break
            now, used = max(now, slots.start(slot)), slot
            calls.append(now)
            now += pause
    calls.sort()
    for call in calls:
        assert sum(call <= other < call + 60 for other in calls) <= per_minute + 1


def test_statuses_take_what_files_leave_and_a_share_beside_them() -> None:
    """Without files every slot may go to a status, with them one in two."""
    assert status_may_go(0, files_wait=False)
    granted = []
    since = 0
    for _ in range(12):
        status = status_may_go(since, files_wait=True)
        since = 0 if status else since + 1
        granted.append(status)
    assert granted.count(True) == 12 // STATUS_TURN
