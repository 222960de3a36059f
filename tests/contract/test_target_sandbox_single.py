"""What Adobe documents of single updates and fetches, at the sandbox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.contract.conftest import Open

ANNA = b"batch=thirdPartyId,orders,store\nanna,3,S1\n"


async def test_the_single_update_updates_only(opened: Open) -> None:
    """An unknown visitor gets the same answer and no profile."""
    site = await opened()
    path = "/m2/acme/profile/update?mbox3rdPartyId=anna&profile.a=1"
    answer = "trueRequest successfully submitted"
    assert (await site.call("GET", path)).body == answer
    assert site.sandbox.profile("anna") is None
    await site.applied(ANNA)
    assert (await site.call("GET", path)).body == answer
    form = {"mbox3rdPartyId": "anna", "profile.b": "ä"}
    posted = await site.call("POST", "/m2/acme/profile/update", data=form)
    assert (posted.http, posted.body) == (200, answer)
    assert site.sandbox.profile("anna") == {
        "orders": "3",
        "store": "S1",
        "a": "1",
        "b": "ä",
    }


async def test_single_updates_are_bounded_in_size(opened: Open) -> None:
    """8 KB by GET, 60 KB by POST."""
    site = await opened(max_get_bytes=200, max_post_bytes=300)
    path = "/m2/acme/profile/update"
    query = "?mbox3rdPartyId=anna&profile.a=" + "x" * 200
    assert (await site.call("GET", path + query)).http == 414
    form = {"mbox3rdPartyId": "anna", "profile.a": "x" * 300}
    assert (await site.call("POST", path, data=form)).http == 413


async def test_single_updates_are_limited_by_day_not_by_minute(opened: Open) -> None:
    """They take nothing from the calls a minute."""
    site = await opened(calls_per_minute=1, single_updates_per_day=3)
    path = "/m2/acme/profile/update?mbox3rdPartyId=anna&profile.a=1"
    answers = [(await site.call("GET", path)).http for _ in range(4)]
    assert answers == [200, 200, 200, 503]
    assert (await site.submit(ANNA)).http == 200
    site.clock.advance(86_400)
    assert (await site.call("GET", path)).http == 200


async def test_a_fetch_lags_behind_and_shows_values_with_their_times(
    opened: Open,
) -> None:
    """Not yet after the submission, but once the batch is applied; not metered."""
    site = await opened(calls_per_minute=1)
    path = "/rest/v1/profiles/thirdPartyId/anna?client=acme"
    await site.submit(ANNA)
    assert (await site.call("GET", path)).http == 404
    site.clock.advance(60)
    answer = await site.call("GET", path)
    moment = "2023-11-14T22:14:20.000Z"
    assert answer.http == 200
    assert json.loads(answer.body) == {
        "client": "acme",
        "visitorId": {"thirdPartyId": "anna"},
        "modifiedAt": moment,
        "profileAttributes": {
            "orders": {"value": "3", "modifiedAt": moment},
            "store": {"value": "S1", "modifiedAt": moment},
        },
    }


async def test_a_fetch_of_nobody_is_a_404_in_json(opened: Open) -> None:
    """With the documented sentence."""
    site = await opened()
    answer = await site.call("GET", "/rest/v1/profiles/thirdPartyId/zoe?client=acme")
    assert answer.http == 404
    assert json.loads(answer.body) == {
        "status": 404,
        "message": "No profile found for client acme with third party id=zoe",
    }
