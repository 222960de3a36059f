"""What Adobe documents of answers, limits and tokens, at the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.sandbox.target import Fault, FaultKind

if TYPE_CHECKING:
    from tests.contract.conftest import Open

ANNA = b"batch=thirdPartyId,orders,store\nanna,3,S1\n"


async def test_a_failure_may_come_with_http_200(opened: Open) -> None:
    """success=false and a message, while HTTP says all is well."""
    site = await opened()
    answer = await site.submit(b"batch=thirdPartyId,a\n")
    assert (answer.http, answer["success"]) == (200, "false")
    assert answer["message"] == "Batch is empty"
    answer = await site.submit(b"batch=thirdPartyId,a\nanna,%zz\n")
    assert (answer.http, answer["success"]) == (200, "false")
    assert answer["message"].startswith("Unexpected Error")
    assert "batchStatus" not in answer.tags


async def test_malformed_files_are_noted_as_violations(opened: Open) -> None:
    """The journal says what the client did wrong."""
    site = await opened()
    await site.submit(b"batch=thirdPartyId,a\nanna,1,2\n")
    rule = "Unexpected Error (line 2: more cells than the header names)"
    assert site.rules() == [rule]
    await site.submit(ANNA, headers={"Content-Type": "text/csv"})
    assert "text/csv" in site.rules()[1]


async def test_a_batch_is_incomplete_until_processed(opened: Open) -> None:
    """Its rows are visible exactly when its status is complete."""
    site = await opened()
    submitted = await site.submit(ANNA)
    assert (await site.status(submitted))["status"] == "incomplete"
    site.clock.advance(59.9)
    assert (await site.status(submitted))["status"] == "incomplete"
    assert site.sandbox.profile("anna") is None
    site.clock.advance(0.1)
    assert site.sandbox.profile("anna") is not None
    assert (await site.status(submitted))["status"] == "complete"


async def test_details_come_only_when_asked_for(opened: Open) -> None:
    """Without showDetails there are three parts, with it four counts more."""
    site = await opened()
    submitted = await site.submit(ANNA)
    site.clock.advance(60)
    brief = await site.status(submitted)
    assert brief.tags == ["batchId", "status", "batchSize"]
    assert brief["batchSize"] == "1"
    full = await site.status(submitted, "&showDetails=true")
    assert full.tags[3:] == [
        "consumedCount",
        "successfulUpdates",
        "profilesNotFound",
        "failedUpdates",
    ]


async def test_complete_can_come_with_failed_updates(opened: Open) -> None:
    """The rows that failed are not in the profiles."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.FAILED_UPDATES, rows=2))
    details = await site.applied(b"batch=thirdPartyId,a\nx,1\ny,1\nz,1\n")
    assert (details["status"], details["failedUpdates"]) == (
        "complete",
        "2",
    )
    assert [visitor for visitor, _ in site.sandbox.profiles()] == ["z"]


async def test_older_answers_list_the_failed_rows(opened: Open) -> None:
    """Each with its id and the word failed."""
    site = await opened(failed_rows_listed=True)
    details = await site.applied(b"batch=thirdPartyId,a\na%26%2Fb,1\nx,1\n")
    profiles = details.root.findall("profile")
    listed = [(p.findtext("id"), p.findtext("status")) for p in profiles]
    assert listed == [("a&/b", "failed")]


async def test_the_status_is_forgotten_after_a_day(opened: Open) -> None:
    """Then it is an answer about an unknown batch."""
    site = await opened()
    submitted = await site.submit(ANNA)
    site.clock.advance(86_400)
    assert (await site.status(submitted))["status"] == "complete"
    site.clock.advance(1)
    assert (await site.status(submitted)).http == 404


@pytest.mark.parametrize("statuses_count", [True, False])
async def test_beyond_fifty_calls_a_minute_comes_503(
    opened: Open, *, statuses_count: bool
) -> None:
    """Over any 60 seconds; statuses count too, unless told otherwise."""
    site = await opened(calls_per_minute=3, statuses_count=statuses_count)
    submitted = await site.submit(ANNA)
    await site.status(submitted)
    site.clock.advance(30)
    assert (await site.submit(ANNA)).http == 200
    assert (await site.submit(ANNA)).http == (503 if statuses_count else 200)
    assert (await site.submit(ANNA)).http == 503
    assert "more calls a minute than allowed" in site.rules()
    site.clock.advance(30)
    assert (await site.submit(ANNA)).http == 200


async def test_other_users_of_the_account_count_too(opened: Open) -> None:
    """Admin and reporting calls use the same minute."""
    site = await opened(calls_per_minute=3)
    await site.call("POST", "/sandbox/spend?calls=2")
    assert [(await site.submit(ANNA)).http for _ in range(2)] == [200, 503]


async def test_without_a_token_required_none_is_needed(opened: Open) -> None:
    """Authentication is optional per account."""
    site = await opened()
    assert (await site.submit(ANNA)).http == 200


async def test_a_required_token_lets_in_and_nothing_else_does(opened: Open) -> None:
    """None or a wrong one is 401, an expired one 403."""
    site = await opened(token="good")
    assert (await site.submit(ANNA)).http == 401
    assert (
        await site.submit(ANNA, headers={"Authorization": "Bearer bad"})
    ).http == 401
    assert (await site.submit(ANNA, headers={"Authorization": "good"})).http == 401
    assert (
        await site.submit(ANNA, headers={"Authorization": "Bearer good"})
    ).http == 200


async def test_a_new_token_invalidates_the_old_one(opened: Open) -> None:
    """Who still sends the old one gets 403."""
    site = await opened(token="old")
    await site.call("POST", "/sandbox/token?token=new")
    assert (
        await site.submit(ANNA, headers={"Authorization": "Bearer old"})
    ).http == 403
    assert (
        await site.submit(ANNA, headers={"Authorization": "Bearer new"})
    ).http == 200
