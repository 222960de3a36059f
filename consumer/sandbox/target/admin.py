"""Adobe's token endpoints: access tokens of IMS, the profile token of the Admin API.

A GET tells the profile token of the account; a POST makes a new one, and the former is
refused from then on, as at Adobe.
"""

from secrets import token_hex
from typing import Final

from aiohttp import web

from consumer.sandbox.target.account import Account
from consumer.sandbox.target.calls import noted
from consumer.sandbox.target.faults import Endpoint

CLIENT_ID: Final = "sandbox-client"
CLIENT_SECRET: Final = "sandbox-secret"  # noqa: S105 - made up, and told in the docs
_DAY: Final = 86_400


class Admin:
    """Handlers of `/ims/token/v3` and `/<tenant>/target/authentication/token`."""

    def __init__(self, account: Account) -> None:
        """Serve one account."""
        self._account = account
        self._access: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the submit host."""
        path = "/{tenant}/target/authentication/token"
        return [
            web.post("/ims/token/v3", self._ims),
            web.get(path, self._tell, allow_head=False),
            web.post(path, self._renew),
        ]

    async def _ims(self, request: web.Request) -> web.Response:
        given = await request.post()
        right = (
            given.get("grant_type") == "client_credentials"
            and given.get("client_id") == CLIENT_ID
            and given.get("client_secret") == CLIENT_SECRET
        )
        if not right:
            return web.json_response({"error": "invalid_client"}, status=400)
        access = token_hex(16)
        self._access.add(access)
        answer = {"access_token": access, "token_type": "bearer", "expires_in": _DAY}
        return web.json_response(answer)

    async def _tell(self, request: web.Request) -> web.Response:
        return self._refused(request) or self._answer(200)

    async def _renew(self, request: web.Request) -> web.Response:
        refused = self._refused(request)
        if refused is None:
            self._account.violated(Endpoint.TOKEN, "a new token ends everyone else's")
            self._account.new_token(token_hex(16))
        return refused or self._answer(201)

    def _refused(self, request: web.Request) -> web.Response | None:
        noted(request, Endpoint.TOKEN, metered=True)
        if not self._account.allow_call():
            return web.Response(status=503)
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if given not in self._access or request.headers.get("X-Api-Key") != CLIENT_ID:
            return web.json_response({"httpStatus": 401}, status=401)
        if request.query.get("authorizationScope") != "profile_api":
            return web.json_response({"httpStatus": 400}, status=400)
        if self._account.token is None:
            return web.json_response({"httpStatus": 404}, status=404)
        return None

    def _answer(self, status: int) -> web.Response:
        answer = {
            "accessToken": self._account.token,
            "tokenType": "bearer",
            "scope": "profile_api",
            "expiresIn": 90 * _DAY,
        }
        return web.json_response(answer, status=status)
