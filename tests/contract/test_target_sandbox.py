"""What Adobe documents of bulk uploads, sentence by sentence, at the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from consumer.sandbox.target import TargetOptions

if TYPE_CHECKING:
    from tests.contract.conftest import Open

ANNA = b"batch=thirdPartyId,orders,store\nanna,3,S1\n"


async def test_a_submission_is_answered_with_its_status_url(opened: Open) -> None:
    """The answer has success, batchStatus and message, in one response element."""
    site = await opened()
    answer = await site.submit(ANNA)
    assert (answer.http, answer.root.tag) == (200, "response")
    assert answer.tags == ["success", "batchStatus", "message"]
    assert answer["success"] == "true"
    assert answer["message"] == "Batch submitted for processing"


async def test_the_status_url_is_on_another_host_with_more_parameters(
    opened: Open,
) -> None:
    """It is plain http, names another port than was called, and carries m2Node."""
    site = await opened()
    answer = await site.submit(ANNA)
    url = urlsplit(answer["batchStatus"])
    assert url.scheme == "http"
    assert url.port not in (None, urlsplit(site.sandbox.endpoint).port)
    assert url.path == "/m2/acme/profile/batchStatus"
    assert "batchId=acme-1700000000000-1" in url.query
    assert "m2Node=" in url.query


async def test_the_status_url_can_name_a_foreign_host(opened: Open) -> None:
    """Tests of a client's guard can make the answer point anywhere."""
    site = await opened(status_base="http://metadata.example")
    answer = await site.submit(ANNA)
    assert answer["batchStatus"].startswith("http://metadata.example/m2/acme/")


async def test_v2_creates_profiles_that_it_does_not_find(opened: Open) -> None:
    """The whole row is there once the batch is complete."""
    site = await opened()
    details = await site.applied(ANNA)
    assert details["successfulUpdates"] == "1"
    assert site.sandbox.profile("anna") == {"orders": "3", "store": "S1"}


async def test_v1_creates_none_and_counts_those_not_found(opened: Open) -> None:
    """v1 updates what exists."""
    site = await opened()
    details = await site.applied(ANNA, v2=False)
    assert details["profilesNotFound"] == "1"
    assert site.sandbox.profile("anna") is None
    site.sandbox.account.page_call("anna")
    details = await site.applied(ANNA, v2=False)
    assert details["successfulUpdates"] == "1"
    assert site.sandbox.profile("anna") == {"orders": "3", "store": "S1"}


async def test_names_and_values_are_url_encoded_and_case_sensitive(
    opened: Open,
) -> None:
    """UTF-8 comes back in ids, names and values; case makes two of one."""
    site = await opened()
    await site.applied(b"batch=thirdPartyId,a%20b,A%20B\nJ%C3%B6rg%2C,1%25,%E2%82%AC")
    assert site.sandbox.profile("Jörg,") == {"a b": "1%", "A B": "€"}
    assert site.sandbox.profile("jörg,") is None


async def test_trailing_columns_may_be_missing_and_rows_sparse(opened: Open) -> None:
    """Only the cells with a value are stored."""
    site = await opened()
    await site.applied(b"batch=thirdPartyId,a,b,c\nanna,1\nben,,2\n")
    assert site.sandbox.profile("anna") == {"a": "1"}
    assert site.sandbox.profile("ben") == {"b": "2"}


async def test_names_carry_no_prefix(opened: Open) -> None:
    """A name with profile. in front is refused."""
    site = await opened()
    answer = await site.submit(b"batch=thirdPartyId,profile.a\nanna,1\n")
    assert answer["success"] == "false"


@pytest.mark.parametrize("length", [-1, 0])
async def test_a_file_must_be_less_than_the_limit(opened: Open, length: int) -> None:
    """One byte less than the limit is taken, the limit is not."""
    site = await opened(max_bytes=len(ANNA) - length)
    answer = await site.submit(ANNA)
    assert (answer.http == 413) is (length == 0)
    assert answer["success"] == ("false" if length == 0 else "true")


async def test_the_documented_limits_are_the_defaults() -> None:
    """50 MB, 500,000 rows, 50 calls a minute, a million single updates a day."""
    options = TargetOptions()
    assert (options.max_bytes, options.max_rows) == (50_000_000, 500_000)
    assert options.calls_per_minute == 50
    assert options.single_updates_per_day == 1_000_000


async def test_a_file_has_a_bounded_number_of_rows(opened: Open) -> None:
    """One row too many and nothing is taken."""
    site = await opened(max_rows=2)
    answer = await site.submit(b"batch=thirdPartyId,a\nx,1\ny,1\nz,1\n")
    assert answer["success"] == "false"
    answer = await site.submit(b"batch=thirdPartyId,a\nx,1\ny,1\n")
    assert answer["success"] == "true"


async def test_an_id_with_plus_or_slash_is_never_stored(opened: Open) -> None:
    """Encoded or not, its row fails and the others are applied."""
    site = await opened()
    body = b"batch=thirdPartyId,a\na%2Bb,1\na/b,1\nanna,1\n"
    details = await site.applied(body)
    counts = ("consumedCount", "successfulUpdates", "failedUpdates")
    assert [details[name] for name in counts] == ["3", "1", "2"]
    assert [visitor for visitor, _ in site.sandbox.profiles()] == ["anna"]
    assert site.rules() == ["line 2: id with + or /", "line 3: id with + or /"]


async def test_ids_above_256_characters_are_rejected(opened: Open) -> None:
    """256 characters are stored, with a warning; 257 fail."""
    site = await opened()
    body = b"batch=thirdPartyId,a\n" + b"x" * 256 + b",1\n" + b"y" * 257 + b",1\n"
    details = await site.applied(body)
    assert details["failedUpdates"] == "1"
    assert site.sandbox.profile("x" * 256) == {"a": "1"}
    assert len(site.sandbox.journal.warnings) == 1


async def test_a_profile_over_its_size_fails(opened: Open) -> None:
    """External data of one visitor is bounded."""
    site = await opened(max_profile_bytes=1_000)
    body = b"batch=thirdPartyId,a\nx," + b"v" * 999 + b"\ny," + b"v" * 1_000
    details = await site.applied(body)
    assert details["failedUpdates"] == "1"
    assert site.sandbox.profile("y") is None


async def test_pc_ids_are_another_key(opened: Open) -> None:
    """A profile by pcId is no profile by thirdPartyId."""
    site = await opened()
    await site.applied(b"batch=pcId,a\nanna,1\n")
    assert site.sandbox.profile("anna") is None
    assert site.sandbox.account.profile("anna", "pcId") == {"a": "1"}


async def test_with_ecid_only_v1_takes_pc_ids(opened: Open) -> None:
    """A site with Experience Cloud ID refuses pcId in v2."""
    site = await opened(experience_cloud_id=True)
    body = b"batch=pcId,a\nanna,1\n"
    answer = await site.submit(body)
    assert answer["success"] == "false"
    answer = await site.submit(body, v2=False)
    assert answer["success"] == "true"


async def test_ecid_itself_is_no_key(opened: Open) -> None:
    """Only thirdPartyId and pcId name visitors."""
    site = await opened()
    answer = await site.submit(b"batch=ecid,a\nanna,1\n")
    assert answer["success"] == "false"


async def test_empty_values_never_clear(opened: Open) -> None:
    """An attribute that was set stays when its cell is empty."""
    site = await opened()
    await site.applied(ANNA)
    await site.applied(b"batch=thirdPartyId,orders,store\nanna,4,\n")
    assert site.sandbox.profile("anna") == {"orders": "4", "store": "S1"}


async def test_rows_of_only_empty_values_are_skipped(opened: Open) -> None:
    """They create no profile and do not count."""
    site = await opened()
    details = await site.applied(b"batch=thirdPartyId,a,b\nanna,,\nben\ncid,1\n")
    assert details["batchSize"] == "1"
    assert [visitor for visitor, _ in site.sandbox.profiles()] == ["cid"]


async def test_consecutive_v2_uploads_override(opened: Open) -> None:
    """The second upload's attributes are all that is left."""
    site = await opened()
    await site.applied(ANNA)
    await site.applied(b"batch=thirdPartyId,orders\nanna,4\n")
    assert site.sandbox.profile("anna") == {"orders": "4"}


async def test_a_page_call_between_prevents_overriding(opened: Open) -> None:
    """Then the second upload merges."""
    site = await opened()
    await site.applied(ANNA)
    await site.call("POST", "/sandbox/page-call?visitor=anna")
    await site.applied(b"batch=thirdPartyId,orders\nanna,4\n")
    assert site.sandbox.profile("anna") == {"orders": "4", "store": "S1"}


async def test_values_set_and_nothing_increments(opened: Open) -> None:
    """The same upload again changes nothing."""
    site = await opened()
    await site.applied(ANNA)
    await site.applied(ANNA)
    assert site.sandbox.profile("anna") == {"orders": "3", "store": "S1"}
