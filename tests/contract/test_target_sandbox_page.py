"""What the sandbox shows to people, and to tests over HTTP."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from consumer.sandbox.target import Fault, FaultKind

if TYPE_CHECKING:
    from tests.contract.conftest import Open

FILE = b"batch=thirdPartyId,orders,store\nv-1,3,S%201\nv%3Cb%3E,4,S%202\n"


async def test_the_page_shows_batches_and_their_status(opened: Open) -> None:
    """The newest first, with what became of their rows."""
    site = await opened()
    await site.applied(FILE)
    await site.submit(FILE)
    page = (await site.call("GET", "/")).body
    assert re.findall(r'class="(\w+)">\1<', page) == ["incomplete", "complete"]
    assert "2 profiles" in page
    assert "No rule broken" in page
    assert "refresh" in page


async def test_a_stuck_batch_can_be_let_go_from_the_page(opened: Open) -> None:
    """Its button is the call that does it."""
    site = await opened()
    site.sandbox.order(Fault(FaultKind.STUCK))
    await site.applied(FILE)
    page = (await site.call("GET", "/")).body
    [action] = re.findall(r'method="post" action="([^"]+)"', page)
    assert site.sandbox.profile("v-1") is None
    assert (await site.call("POST", action)).http == 204
    assert site.sandbox.profile("v-1") == {"orders": "3", "store": "S 1"}


async def test_the_page_shows_a_visitor_and_the_rows_uploaded_for_it(
    opened: Open,
) -> None:
    """Also what a later row has replaced; an id is never taken for markup."""
    site = await opened()
    await site.applied(FILE)
    await site.applied(b"batch=thirdPartyId,orders,store\nv-1,5,S%209\n")
    page = (await site.call("GET", "/?visitor=v-1")).body
    assert "<td>orders<td>5<" in page.replace("\n", "")
    assert "orders=3" in page
    assert "refresh" not in page
    odd = (await site.call("GET", "/?visitor=v%3Cb%3E")).body
    assert "<b>" not in odd
    assert "orders=4" in odd
    nobody = (await site.call("GET", "/?visitor=nobody")).body
    assert "no profile of nobody" in nobody


async def test_the_page_says_what_was_broken_and_what_is_ordered(opened: Open) -> None:
    """A person sees at once that a client is wrong."""
    site = await opened()
    await site.submit(b"nonsense")
    site.sandbox.order(Fault(FaultKind.HTTP_503, calls=7))
    page = (await site.call("GET", "/")).body
    assert "1 rules broken" in page
    assert "http_503" in page


async def test_calls_are_told_by_window(opened: Open) -> None:
    """Windows of the clock, of any length, by endpoint."""
    site = await opened()
    for _ in range(3):
        await site.submit(FILE)
    site.clock.advance(120)
    await site.status(await site.submit(FILE))
    found = json.loads((await site.call("GET", "/sandbox/calls")).body)
    assert [{k: n for k, n in one.items() if k != "from"} for one in found] == [
        {"submit": 3},
        {"submit": 1, "status": 1},
    ]
    assert [one["from"] % 60 for one in found] == [0, 0]
    whole = json.loads((await site.call("GET", "/sandbox/calls?seconds=86400")).body)
    assert [one["submit"] for one in whole] == [4]
    assert (await site.call("GET", "/sandbox/calls?seconds=0")).http == 400


async def test_profiles_expire_on_order_and_by_time(opened: Open) -> None:
    """A profile lives 14 days after the last activity, an upload being one here."""
    site = await opened()
    await site.applied(FILE)
    assert (await site.call("DELETE", "/sandbox/profiles?visitor=v-1")).http == 204
    assert site.sandbox.profile("v-1") is None
    assert site.sandbox.profile("v<b>") is not None
    for days in (10, 10):
        await site.applied(b"batch=thirdPartyId,orders,store\nv-1,5,S%209\n")
        site.clock.advance(days * 86_400)
    assert site.sandbox.profile("v-1") is not None
    assert site.sandbox.profile("v<b>") is None
    site.clock.advance(14.1 * 86_400)
    assert site.sandbox.profile("v-1") is None
