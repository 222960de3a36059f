"""The answers' texts, as Adobe writes them."""

import datetime as dt
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from consumer.sandbox.target.batches import Batch
from consumer.sandbox.target.profiles import Profile

SINGLE_UPDATE: Final = "trueRequest successfully submitted"


def accepted(status_url: str) -> str:
    """Answer a submission that was taken."""
    return (
        "<response><success>true</success>"
        f"<batchStatus>{escape(status_url)}</batchStatus>"
        "<message>Batch submitted for processing</message></response>"
    )


def refused(message: str) -> str:
    """Answer a submission that was not taken."""
    return (
        "<response><success>false</success>"
        f"<message>{escape(message)}</message></response>"
    )


def status_url(base: str, client: str, batch: Batch) -> str:
    """Return where a batch's status is; with the parameters seen in the field."""
    query = urlencode({"batchId": batch.id, "m2Node": "sandbox1"})
    return f"{base}/m2/{client}/profile/batchStatus?{query}"


def batch_status(batch: Batch, *, details: bool, listed: bool) -> str:
    """Answer a status call; `listed` names failed rows as older answers do."""
    parts = [f"<batchId>{escape(batch.id)}</batchId><status>{batch.status}</status>"]
    parts.append(f"<batchSize>{batch.file.batch_size}</batchSize>")
    if details:
        counts = {
            "consumedCount": batch.consumed,
            "successfulUpdates": batch.successful,
            "profilesNotFound": batch.not_found,
            "failedUpdates": len(batch.failed),
        }
        parts += [f"<{name}>{count}</{name}>" for name, count in counts.items()]
    if listed:
        parts += [
            f"<profile><id>{escape(visitor)}</id><status>failed</status></profile>"
            for visitor in batch.failed
        ]
    return f"<response>{''.join(parts)}</response>"


def profile(client: str, visitor: str, found: Profile) -> dict[str, object]:
    """Answer a fetch."""
    return {
        "client": client,
        "visitorId": {"thirdPartyId": visitor},
        "modifiedAt": _iso(found.modified_at),
        "profileAttributes": {
            name: {"value": value, "modifiedAt": _iso(at)}
            for name, (value, at) in found.attributes().items()
        },
    }


def no_profile(client: str, visitor: str) -> Mapping[str, object]:
    """Answer a fetch of a profile that does not exist."""
    return {
        "status": 404,
        "message": (
            f"No profile found for client {client} with third party id={visitor}"
        ),
    }


def _iso(at: float) -> str:
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
