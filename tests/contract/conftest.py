"""A Target sandbox with a clock in hand, and a client that speaks to it."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Protocol
from xml.etree import ElementTree as ET

import aiohttp
import pytest

from consumer.clock import ManualClock
from consumer.sandbox.jars import registry_folder
from consumer.sandbox.target import TargetOptions, TargetSandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PROCESSING_TIME = 60.0


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP status and a body, XML or not."""

    http: int
    body: str

    @property
    def root(self) -> ET.Element:
        """Return the body as XML."""
        return ET.fromstring(self.body)  # noqa: S314 - our own answers

    @property
    def tags(self) -> list[str]:
        """Return the names of the body's parts."""
        return [part.tag for part in self.root]

    def __getitem__(self, name: str) -> str:
        """Return the text of one part, empty if there is none."""
        return self.root.findtext(name) or ""


class Site:
    """A sandbox whose batches take a minute of its clock."""

    def __init__(self, options: TargetOptions, session: aiohttp.ClientSession) -> None:
        self.clock = ManualClock()
        self.sandbox = TargetSandbox(options, self.clock)
        self._session = session

    async def submit(
        self,
        body: bytes,
        *,
        v2: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Post a batch file."""
        path = f"/m2/acme{'/v2' if v2 else ''}/profile/batchUpdate"
        return await self.call(
            "POST", path, data=io.BytesIO(body), headers={**_FORM, **(headers or {})}
        )

    async def status(self, submitted: Answer, extra: str = "") -> Answer:
        """Follow the status URL of a submission."""
        return await self._answer("GET", submitted["batchStatus"] + extra)

    async def applied(self, body: bytes, *, v2: bool = True) -> Answer:
        """Submit, wait until it is processed, and return its status with details."""
        submitted = await self.submit(body, v2=v2)
        self.clock.advance(PROCESSING_TIME)
        return await self.status(submitted, "&showDetails=true")

    async def call(
        self,
        method: str,
        path: str,
        *,
        data: io.BytesIO | Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call any path of the submit host."""
        url = self.sandbox.endpoint + path
        return await self._answer(method, url, data, json, headers)

    async def _answer(
        self,
        method: str,
        url: str,
        data: io.BytesIO | Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        call = self._session.request(method, url, data=data, json=json, headers=headers)
        async with call as response:
            return Answer(response.status, await response.text())

    def rules(self) -> list[str]:
        """Return the rules that were broken."""
        return [violation.rule for violation in self.sandbox.journal.violations]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch the registry, once per user, outside of any test's time limit."""
    chosen = any("test_registry_access" in item.nodeid for item in session.items)
    if chosen and not session.config.option.collectonly:
        registry_folder()


class Open(Protocol):
    """Opens a site with given options; it is closed at the end of the test."""

    async def __call__(self, **options: bool | float | str) -> Site:
        """Open a site."""
        ...


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Return what opens a site."""
    sites: list[Site] = []
    async with aiohttp.ClientSession() as session:

        async def open_site(**options: bool | float | str) -> Site:
            options = {"processing_time": PROCESSING_TIME, **options}
            site = Site(TargetOptions(**options), session)  # type: ignore[arg-type]
            await site.sandbox.__aenter__()
            sites.append(site)
            return site

        yield open_site
        for site in sites:
            await site.sandbox.__aexit__(None, None, None)
