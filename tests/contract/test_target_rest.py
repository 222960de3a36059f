"""What is left of Adobe's words: v1, headers, what is not there, expiry, fetches."""

from __future__ import annotations

import pytest

from consumer.sandbox.target import Endpoint, Fault, FaultKind
from consumer.target.client import TargetClient
from consumer.target.outcome import Accepted, classify
from consumer.target.sample import Found, Sample, judge
from tests.contract.conftest import Open  # noqa: TC001 - pytest reads it

ANNA = b"batch=thirdPartyId,orders,store\nanna,3,S1\n"
DAY = 86_400


async def test_the_body_is_raw_bytes_in_a_form_s_clothes(opened: Open) -> None:
    """Another content type, or a compressed body, is noted."""
    site = await opened()
    await site.submit(ANNA)
    assert not site.rules()
    await site.submit(ANNA, headers={"Content-Encoding": "identity"})
    assert "raw bytes" in site.rules()[0]


async def test_v1_is_the_address_without_a_version(opened: Open) -> None:
    """The client updates what exists, and makes nothing."""
    site = await opened()
    site.sandbox.account.page_call("anna")
    async with TargetClient(site.sandbox.endpoint, "acme", api="v1") as client:
        rows = memoryview(b"anna,3\nzoe,4\n")
        reply = await client.submit((b"batch=thirdPartyId,orders\n", rows), "")
    assert isinstance(classify(reply, 0.0), Accepted)
    site.clock.advance(60)
    assert site.sandbox.profile("anna") == {"orders": "3"}
    assert site.sandbox.profile("zoe") is None
    [call] = [c for c in site.sandbox.journal.calls if c.endpoint is Endpoint.SUBMIT]
    assert call.path == "/m2/acme/profile/batchUpdate"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/m2/acme/v2/profile/batchUpdate"),
        ("POST", "/m2/acme/v3/profile/batchUpdate"),
        ("DELETE", "/rest/v1/profiles/thirdPartyId/anna?client=acme"),
    ],
)
async def test_there_is_no_delete(opened: Open, method: str, path: str) -> None:
    """Nothing takes an attribute or a profile away."""
    site = await opened()
    assert (await site.call(method, path)).http in (404, 405)


async def test_rows_may_be_lost_without_a_word(opened: Open) -> None:
    """The status says that all were stored; a fetch shows the truth."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.SWALLOWED, rows=1))
    status = await site.applied(b"batch=thirdPartyId,orders\nanna,3\nzoe,4\n")
    assert (status["successfulUpdates"], status["failedUpdates"]) == ("2", "0")
    assert site.sandbox.profile("anna") is None
    assert site.sandbox.profile("zoe") == {"orders": "4"}
    async with TargetClient(site.sandbox.endpoint, "acme") as client:
        for visitor, orders, found in (
            ("anna", "3", Found.MISSING),
            ("zoe", "4", Found.PRESENT),
            ("zoe", "5", Found.MISSING),
        ):
            sample = Sample(visitor, 0, 0, {"orders": orders})
            assert judge(sample, await client.fetch(visitor, "")) is found


async def test_fetches_are_not_metered(opened: Open) -> None:
    """Any number in a minute; the calls of the account stay."""
    site = await opened(calls_per_minute=1)
    path = "/rest/v1/profiles/thirdPartyId/anna?client=acme"
    for _ in range(5):
        assert (await site.call("GET", path)).http == 404
    assert (await site.submit(ANNA)).http == 200


async def test_the_client_fetches_visitors_of_any_name(opened: Open) -> None:
    """Whatever characters a file can carry; the token goes along."""
    site = await opened(token="right")
    site.sandbox.account.new_token("right")
    name = "änna ?&#%25 漢"
    site.sandbox.account.page_call(name)
    async with TargetClient(site.sandbox.endpoint, "acme") as client:
        reply = await client.fetch(name, "right")
    assert judge(Sample(name, 0, 0, {}), reply) is Found.PRESENT
    assert site.sandbox.journal.calls[-1].authorization


@pytest.mark.parametrize("counts", [True, False])
async def test_whether_an_upload_keeps_a_profile_alive_is_an_option(
    opened: Open, *, counts: bool
) -> None:
    """Adobe does not say; a page call always does."""
    site = await opened(uploads_are_activity=counts)
    for visitor in ("page", "upload"):
        site.sandbox.account.page_call(visitor)
    site.clock.advance(13 * DAY)
    await site.applied(b"batch=thirdPartyId,orders\nupload,3\n")
    site.sandbox.account.page_call("page")
    site.clock.advance(2 * DAY)
    assert site.sandbox.profile("page") is not None
    assert (site.sandbox.profile("upload") is not None) is counts


async def test_the_life_of_profiles_can_be_longer(opened: Open) -> None:
    """Up to 90 days, as agreed with Adobe."""
    site = await opened(profile_lifetime=90.0 * DAY)
    await site.applied(ANNA)
    site.clock.advance(89 * DAY)
    assert site.sandbox.profile("anna") is not None
    site.clock.advance(2 * DAY)
    assert site.sandbox.profile("anna") is None
