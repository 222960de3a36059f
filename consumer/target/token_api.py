"""Fetches the existing profile token: IMS client credentials, then Target's Admin API.

The token is only ever read (GET). Asking for a new one (POST) would end the present one
for every other user of the account. The client secret goes to IMS alone, the access
token to the Admin API alone; no redirects, no proxies from the environment, answers
are cut at a size and calls at a time.
"""

import json
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import aiohttp

from consumer.config import Secret
from consumer.errors import TargetError

LARGEST: Final = 100_000  # bytes; the answers are short
CALL_SECONDS: Final = 20.0
_ACCEPT: Final = "application/vnd.adobe.target.v1+json, application/json"
_OK: Final = 200
_REMEDY: Final = "Check [target.token_api]; nothing is lost, it is tried again."


@dataclass(frozen=True, slots=True)
class FetchedToken:
    """A profile token, and how many seconds it is still good for (0: not told)."""

    text: str
    seconds: float

    def __repr__(self) -> str:
        """Show no token."""
        return f"FetchedToken(seconds={self.seconds:g})"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the two calls need; the secret is read anew for each fetch."""

    ims: str
    admin: str
    tenant: str
    client_id: str
    client_secret: Secret
    scopes: str


class TokenApi:
    """Makes the two calls; an async context manager that owns its session."""

    def __init__(self, credentials: Credentials) -> None:
        """Call nothing yet."""
        self._with = credentials
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def fetch(self) -> FetchedToken:
        """Return the profile token as it is now; TargetError or ConfigurationError."""
        to = self._with
        form = {
            "grant_type": "client_credentials",
            "client_id": to.client_id,
            "client_secret": to.client_secret.read("target.token_api.client_secret"),
            "scope": to.scopes,
        }
        found = await self._call("POST", f"{to.ims}/ims/token/v3", {}, form)
        access = _text(found, "access_token", "IMS")
        address = f"{to.admin}/{quote(to.tenant, safe='')}/target/authentication/token"
        headers = {
            "Authorization": f"Bearer {access}",
            "X-Api-Key": to.client_id,
            "Accept": _ACCEPT,
        }
        where = f"{address}?authorizationScope=profile_api"
        found = await self._call("GET", where, headers, None)
        seconds = found.get("expiresIn", 0)
        good_for = float(seconds) if isinstance(seconds, int | float) else 0.0
        return FetchedToken(_text(found, "accessToken", "Target"), max(0.0, good_for))

    async def _call(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        form: dict[str, str] | None,
    ) -> dict[str, object]:
        assert self._session is not None, "it is used as a context manager"  # noqa: S101 - a bug in the caller
        host = url.split("/")[2]
        try:
            async with self._session.request(
                method, url, headers=headers, data=form, allow_redirects=False
            ) as answer:
                body = await answer.content.read(LARGEST)
                if answer.status != _OK:
                    raise TargetError(
                        f"{host} gives no profile token: HTTP {answer.status}.", _REMEDY
                    )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            raise TargetError(f"{host} does not answer ({said}).", _REMEDY) from error
        try:
            found = json.loads(body)
        except ValueError as error:
            raise TargetError(f"{host} answers no JSON.", _REMEDY) from error
        return found if isinstance(found, dict) else {}


def _text(found: dict[str, object], name: str, who: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise TargetError(f"{who} answers without {name}.", _REMEDY)
    return value
