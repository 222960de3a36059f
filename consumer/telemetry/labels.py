"""The bounded sets that labels take their values from, and the steps of each loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Stage = Literal["rekey", "aggregate", "upload"]
Loop = Literal["rekey", "aggregate", "intake", "sealing", "delivery", "confirmation"]

STAGES: Final[tuple[Stage, ...]] = ("rekey", "aggregate", "upload")
FILTERS: Final = ("erased",)
ERASURES: Final = ("erased", "deleted")
TICKS: Final = ("slid", "expired")
OUTCOMES: Final = ("folded", "duplicate", "filtered", "dead_lettered")

STEPS: Final[Mapping[Loop, Mapping[str, str]]] = {
    "rekey": {
        "start": "making the producer, taking partitions over",
        "restore": "finding where the partitions go on",
        "idle": "waiting for purchases",
        "work": "decoding as far as the visitor",
        "produce": "handing records to librdkafka",
        "commit": "the Kafka transaction's end",
        "recover": "starting over after an unclean transaction",
        "report": "metrics, health, logs",
    },
    "aggregate": {
        "start": "making the producer, taking partitions over",
        "restore": "reading our topics into the local store",
        "idle": "waiting for purchases: the batch was not full",
        "fetch": "taking a full batch from librdkafka",
        "decode": "Avro to columns, and the mapping of fields",
        "deduplicate": "looking the event ids up",
        "map": "numbering the visitors of the batch",
        "gather": "reading their stored profiles",
        "fold": "folding the events, merging with the stored profiles",
        "encode": "profiles to records",
        "assemble": "keys, positions and ids seen; the rest of working a batch",
        "tick": "finding and rendering profiles whose windows slid",
        "produce": "handing records to librdkafka",
        "commit": "the Kafka transaction's end",
        "store": "writing the local store",
        "recover": "starting over after an unclean transaction",
        "report": "metrics, health, logs, garbage collection",
    },
    "intake": {
        "idle": "waiting for profiles",
        "backpressure": "waiting for room among the rows that wait for a file",
        "render": "profiles to the text that Target gets",
        "encode": "text to the rows of a file",
        "queue": "waiting for the worker thread, adding rows to those that wait",
        "reject": "keeping rows that Target cannot take",
    },
    "sealing": {
        "idle": "waiting until a file is due",
        "wait_budget": "the file before waits for its call",
        "wait_posts": "as many files are under way as are allowed",
        "seal": "choosing the rows of a file",
    },
    "delivery": {
        "assemble": "laying the file out",
        "ledger": "writing to the uploads ledger",
        "wait_budget": "waiting for a call of the account's budget",
        "post": "the HTTP call",
        "retry": "pausing before the same file is sent again",
        "settle": "committing offsets, freeing or dividing rows",
    },
    "confirmation": {
        "idle": "no status is due",
        "wait_budget": "waiting for a call of the account's budget",
        "status": "the HTTP call",
        "settle": "writing the end, sending rows again where needed",
    },
}
STAGE_OF: Final[Mapping[Loop, Stage]] = {
    "rekey": "rekey",
    "aggregate": "aggregate",
    "intake": "upload",
    "sealing": "upload",
    "delivery": "upload",
    "confirmation": "upload",
}

TRANSACTION_RESULTS: Final = ("committed", "failed")
RECYCLE_CAUSES: Final = (
    "producer_fenced",
    "member_fenced",
    "transaction_failed",
    "broker_unreachable",
)
REBALANCE_KINDS: Final = ("assigned", "revoked", "lost")
UPLOAD_OUTCOMES: Final = (
    "accepted",
    "retry",
    "throttled",
    "split",
    "rejected",
    "unauthorised",
)
RETRY_CAUSES: Final = ("retry", "throttled", "unauthorised")
STATUS_ANSWERS: Final = (
    "incomplete",
    "complete",
    "stuck",
    "forgotten",
    "unknown",
    "throttled",
    "unauthorised",
)
BATCH_ENDS: Final = ("complete", "failed", "stuck", "forgotten", "overdue")
CALL_KINDS: Final = ("submit", "status", "fetch")
RESENT_CAUSES: Final = ("resync", "keep_alive")
ROW_WARNINGS: Final = ("long_visitor", "long_value")
SAMPLES: Final = ("present", "lost", "superseded", "unknown")
REGRESSIONS: Final = ("back", "repeated")
CLIENTS: Final = ("source", "rekeyer", "purchases", "producer", "profiles")
"""Our Kafka clients whose statistics are shown: consumers and producers."""
