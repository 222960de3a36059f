"""A page for people at `/`: batches, their status, and a visitor's profile.

Made anew for each look, without a script; it reloads itself unless a visitor is asked
for.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from html import escape
from itertools import islice
from typing import Final
from urllib.parse import quote

from aiohttp import web

from consumer.sandbox.target.account import Account
from consumer.sandbox.target.batches import Batch, Status
from consumer.sandbox.target.journal import MINUTE

_BATCHES: Final = 50
_VIOLATIONS: Final = 20
_UPLOADS: Final = 20
_STYLE: Final = """
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{margin:2rem auto;max-width:64rem;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.incomplete{color:#b8860b}.complete{color:#2e8b57}.stuck,.bad{color:#c0392b}
small{color:#888}h1{font-size:1.4rem}h2{font-size:1.1rem}form{display:inline}
"""


class Page:
    """The handler of `/`."""

    def __init__(self, account: Account) -> None:
        """Show one account."""
        self._account = account

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the submit host."""
        return [web.get("/", self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        visitor = request.query.get("visitor", "")
        parts = [*self._head(visitor), *self._summary(), *self._visitor(visitor)]
        parts += self._batches()
        return web.Response(text="\n".join(parts), content_type="text/html")

    def _head(self, visitor: str) -> Iterator[str]:
        client = escape(self._account.options.client)
        yield '<!doctype html><html lang="en"><meta charset="utf-8">'
        if not visitor:
            yield '<meta http-equiv="refresh" content="3">'
        yield f"<title>Target sandbox: {client}</title><style>{_STYLE}</style>"
        yield f"<h1>Target sandbox for client {client}</h1>"

    def _summary(self) -> Iterator[str]:
        account = self._account
        journal, limit = account.journal, account.options.calls_per_minute
        now = account.clock.now()
        last = journal.calls_within(now - MINUTE, now)
        busiest = journal.busiest_minute()
        profiles = sum(1 for _ in account.profiles())
        yield (
            f"<p>{len(journal.calls):,} calls, {last} in the last minute, at most "
            f"{busiest} of {limit} allowed. {profiles:,} profiles. "
        )
        broken = journal.violations
        yield (
            f'<span class="bad">{len(broken):,} rules broken.</span></p>'
            if broken
            else "No rule broken.</p>"
        )
        if broken:
            rows = ([_time(v.at), v.endpoint, v.rule] for v in broken[-_VIOLATIONS:])
            yield from _table(["at", "call", "rule"], rows)
        orders = account.faults.open()
        if orders:
            yield "<h2>Faults on order</h2>"
            rows = (
                [fault.on, fault.kind, f"{left or 'all'}", f"{fault.probability:g}"]
                for fault, left in orders
            )
            yield from _table(["call", "fault", "calls", "probability"], rows)

    def _visitor(self, visitor: str) -> Iterator[str]:
        yield (
            '<h2>A visitor</h2><form><input name="visitor" placeholder="visitor id" '
            f'value="{escape(visitor)}"> <button>Show</button></form> '
            "<small>of those that batches name as thirdPartyId</small>"
        )
        if not visitor:
            return
        found = self._account.stored(visitor)
        if found is None:
            yield f"<p>There is no profile of {escape(visitor)}.</p>"
        else:
            rows = (
                [name, value, _time(at)]
                for name, (value, at) in sorted(found.attributes().items())
            )
            yield from _table(["attribute", "value", "set at"], rows)
        uploads = list(self._account.journal.rows(visitor))[-_UPLOADS:]
        rows = (
            [
                _time(row.at),
                row.batch_id,
                ", ".join(f"{name}={value}" for name, value in row.attributes.items()),
            ]
            for row in reversed(uploads)
        )
        yield "<h2>Rows uploaded for it</h2>"
        yield from _table(["at", "batch", "row"], rows)
        yield '<p><a href="/">All batches, reloading</a></p>'

    def _batches(self) -> Iterator[str]:
        batches = list(self._account.batches())
        yield f"<h2>Batches ({len(batches):,})</h2>"
        yield "<table><tr><th>at<th>id<th>status"
        for name in ("rows", "bytes", "applied", "not found", "failed"):
            yield f'<th class="n">{name}'
        for batch in islice(reversed(batches), _BATCHES):
            yield _batch(batch)
        yield "</table>"


def _batch(batch: Batch) -> str:
    word = f'<span class="{batch.status}">{batch.status}</span>'
    if batch.status is Status.STUCK:
        action = f"/sandbox/unstick?batchId={quote(batch.id)}"
        word += f' <form method="post" action="{action}"><button>let go</button></form>'
    counts = (
        batch.file.batch_size,
        batch.file.size,
        batch.successful,
        batch.not_found,
        len(batch.failed),
    )
    numbers = "".join(f'<td class="n">{count:,}' for count in counts)
    return (
        f"<tr><td>{_time(batch.submitted_at)}<td>{escape(batch.id)}<td>{word}{numbers}"
    )


def _table(names: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{name}" for name in names)
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}" for cell in row)
    yield "</table>"


def _time(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%H:%M:%S")
