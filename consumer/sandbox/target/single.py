"""The endpoints for one profile: the single update, and the fetch.

Neither counts against the calls a minute.
"""

from typing import Final

from aiohttp import web

from consumer.sandbox.target import answers
from consumer.sandbox.target.account import Account
from consumer.sandbox.target.calls import noted
from consumer.sandbox.target.faults import Endpoint

_PREFIX: Final = "profile."
_ID_PARAMETERS: Final = {"mbox3rdPartyId": "thirdPartyId", "mboxPC": "pcId"}


class Single:
    """Handlers of `/m2/<client>/profile/update` and `/rest/v1/profiles/…`."""

    def __init__(self, account: Account) -> None:
        """Serve one account."""
        self._account = account

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the submit host."""
        return [
            web.get("/m2/{client}/profile/update", self._update),
            web.post("/m2/{client}/profile/update", self._update),
            web.get("/rest/v1/profiles/thirdPartyId/{id}", self._fetch),
        ]

    async def _update(self, request: web.Request) -> web.Response:
        account = self._account
        options = account.options
        body = await request.read()
        noted(request, Endpoint.UPDATE, metered=False, size=len(body))
        by_post = request.method == "POST"
        size = len(body) if by_post else len(request.raw_path)
        if size > (options.max_post_bytes if by_post else options.max_get_bytes):
            account.violated(Endpoint.UPDATE, f"{request.method} of {size} bytes")
            return web.Response(status=413 if by_post else 414, text="false")
        if not account.single_updates.allow(account.clock.now()):
            account.violated(Endpoint.UPDATE, "more single updates a day than allowed")
            return web.Response(status=503, text="false")
        given = {**request.query, **(await request.post() if by_post else {})}
        named = [name for name in _ID_PARAMETERS if given.get(name)]
        if not named:
            account.violated(Endpoint.UPDATE, "no visitor named")
            return web.Response(status=400, text="falseNo visitor id")
        values = {
            name.removeprefix(_PREFIX): str(value)
            for name, value in given.items()
            if name.startswith(_PREFIX)
        }
        # Updates only: an unknown visitor gets the same answer, and no profile.
        account.update(str(given[named[0]]), _ID_PARAMETERS[named[0]], values)
        return web.Response(text=answers.SINGLE_UPDATE)

    async def _fetch(self, request: web.Request) -> web.Response:
        noted(request, Endpoint.FETCH, metered=False)
        client = request.query.get("client", "")
        visitor = request.match_info["id"]
        if client != self._account.options.client:
            missing = answers.no_profile(client, visitor)
            return web.json_response(missing, status=404)
        found = self._account.stored(visitor)
        if found is None:
            return web.json_response(answers.no_profile(client, visitor), status=404)
        return web.json_response(answers.profile(client, visitor, found))
