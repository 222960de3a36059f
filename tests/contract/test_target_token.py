"""The profile token, fetched by the documented chain and never made anew."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import pytest

from consumer.clock import ManualClock
from consumer.config import Secret
from consumer.errors import TargetError
from consumer.sandbox.target import Endpoint
from consumer.sandbox.target.admin import CLIENT_ID, CLIENT_SECRET
from consumer.stages.upload_token import OFTEN, SELDOM, TokenKeeper
from consumer.target.token_api import Credentials, FetchedToken, TokenApi

if TYPE_CHECKING:
    from tests.contract.conftest import Open, Site

DAY = 86_400


def credentials(site: Site) -> Credentials:
    """Return what opens the sandbox."""
    return Credentials(
        ims=site.sandbox.endpoint,
        admin=site.sandbox.endpoint,
        tenant="acme",
        client_id=CLIENT_ID,
        client_secret=Secret(CLIENT_SECRET),
        scopes="openid",
    )


async def test_the_existing_token_is_told_and_no_new_one_is_made(opened: Open) -> None:
    """Client credentials, then a GET: the token of everybody else stays good."""
    site = await opened(token="present")
    async with TokenApi(credentials(site)) as api:
        assert await api.fetch() == FetchedToken("present", 90 * DAY)
        assert "present" not in repr(await api.fetch())
    calls = [c for c in site.sandbox.journal.calls if c.endpoint is Endpoint.TOKEN]
    assert [call.method for call in calls] == ["GET", "GET"]
    assert site.rules() == []


async def test_a_post_would_end_the_token_of_everybody(opened: Open) -> None:
    """The sandbox shows why it is never done."""
    site = await opened(token="present")
    async with aiohttp.ClientSession() as session:
        form = {
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        async with session.post(
            f"{site.sandbox.endpoint}/ims/token/v3", data=form
        ) as answer:
            access = (await answer.json())["access_token"]
        path = "/acme/target/authentication/token?authorizationScope=profile_api"
        headers = {"Authorization": f"Bearer {access}", "X-Api-Key": CLIENT_ID}
        async with session.post(
            site.sandbox.endpoint + path, headers=headers
        ) as answer:
            assert answer.status == 201
    assert site.sandbox.account.token != "present"
    assert site.rules() == ["a new token ends everyone else's"]


async def test_wrong_credentials_and_silence_are_told_with_a_remedy(
    opened: Open, unused_tcp_port: int
) -> None:
    """Neither the secret nor a token is in the sentence."""
    site = await opened(token="present")
    wrong = replace(credentials(site), client_secret=Secret("wrong-one"))
    nowhere = replace(credentials(site), ims=f"http://127.0.0.1:{unused_tcp_port}")
    for given in (wrong, nowhere):
        async with TokenApi(given) as api:
            with pytest.raises(TargetError, match="token_api") as raised:
                await api.fetch()
        assert "wrong-one" not in str(raised.value)


class Kept:
    """A keeper on a clock in hand, whose fetches are counted."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.answers: list[FetchedToken | TargetError] = []
        self.fetched_at: list[float] = []
        self.held: list[float] = []
        self.released = 0
        self.ends: list[float | None] = []
        self.keeper = TokenKeeper(
            self._fetch,
            self.clock,
            hold=self.held.append,
            release=self._release,
            told=self.ends.append,
        )
        self.task = asyncio.create_task(self.keeper.run())

    async def _fetch(self) -> FetchedToken:
        self.fetched_at.append(self.clock.monotonic())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, TargetError):
            raise answer
        return answer

    def _release(self) -> None:
        self.released += 1

    async def close(self) -> None:
        """End the loop."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_a_token_is_fetched_again_before_it_ends() -> None:
    """At half of what is left of it, and every six hours at least."""
    kept = Kept()
    kept.answers = [FetchedToken("a", 10_000.0), FetchedToken("a", 90.0 * DAY)]
    await kept.clock.run_for(5_000 + SELDOM + 1)
    assert kept.fetched_at == [0.0, 5_000.0, 5_000.0 + SELDOM]
    assert kept.ends[0] == pytest.approx(1_700_010_000.0)
    await kept.close()


async def test_without_a_token_calls_are_held_and_a_refusal_fetches_anew() -> None:
    """Never more often than once a minute; a new token lets calls go at once."""
    kept = Kept()
    kept.answers = [TargetError("down"), FetchedToken("a", 0.0), FetchedToken("b", 0.0)]
    await kept.clock.run_for(OFTEN + 1)
    assert (kept.keeper.text, kept.released) == ("a", 1)
    assert len(kept.held) == 2
    kept.keeper.refused()
    await kept.clock.run_for(OFTEN)
    assert (kept.keeper.text, kept.released) == ("b", 2)
    assert kept.fetched_at == [0.0, OFTEN, 2 * OFTEN]
    await kept.close()
