"""From profiles to Target: answers, the call budget, files, confirmation."""

from __future__ import annotations

from typing import Final

from dashboards import thresholds as t
from dashboards.overview import BUDGET_USED
from dashboards.panels import (
    Page,
    Panel,
    Query,
    Row,
    mean,
    owned,
    quantile,
    rate,
    series,
)


def _steps(loop: str, title: str, about: str) -> Panel:
    return Panel(
        title,
        about,
        (
            Query(
                "avg by (step) (rate("
                f"{series('step_seconds', loop=loop)}[$__rate_interval]))",
                "{{step}}",
            ),
        ),
        "percentunit",
        "stack",
        6,
    )


UPLOAD: Final = Page(
    "pos-consumer-upload",
    "pos-consumer: Upload",
    "From profiles to Target: answers, the call budget, files, confirmation.",
    (
        Row(
            "Answers",
            (
                Panel(
                    "Files by answer",
                    "`unauthorised`: mend the token, it is read again by itself. "
                    "`throttled`: somebody else uses the account. `split` and "
                    "`rejected`: see the log for Target's reason.",
                    (
                        Query(
                            f"60 * {rate('upload_batches', 'outcome')}", "{{outcome}}"
                        ),
                    ),
                    "opm",
                    "stack",
                ),
                Panel(
                    "Rows and bytes by answer",
                    "Rows a second; bytes on the other panel's unit would hide them.",
                    (Query(rate("upload_rows", "outcome"), "{{outcome}}"),),
                    "cps",
                    "stack",
                ),
                Panel(
                    "Retries by cause",
                    "Files sent again. A few are a network; many are Target's fault or "
                    "the account's: compare with Adobe's status page.",
                    (Query(f"60 * {rate('retries', 'cause')}", "{{cause}}"),),
                    "opm",
                ),
            ),
        ),
        Row(
            "Call budget",
            (
                Panel(
                    "Budget used",
                    "Full for a quarter of an hour is an alert: rows wait for calls.",
                    (Query(BUDGET_USED, "used"),),
                    "percentunit",
                    steps=(t.BUDGET_WARN, t.BUDGET_FULL),
                ),
                Panel(
                    "Calls a minute by kind",
                    "Statuses take what files leave, and every second call at most "
                    "while files wait.",
                    (
                        Query(f"60 * {rate('calls', 'kind')}", "{{kind}}"),
                        Query(f"max({series('budget_calls_per_minute')})", "budget"),
                    ),
                    "opm",
                ),
                Panel(
                    "File size",
                    "Small files with a full budget: raise `max_age`, so that each "
                    "call carries more rows.",
                    (
                        Query(mean("upload_file_bytes"), "mean"),
                        Query(quantile(0.95, "upload_file_bytes"), "p95"),
                        Query(rate("upload_bytes"), "a second, all answers"),
                    ),
                    "bytes",
                ),
            ),
        ),
        Row(
            "Confirmation",
            (
                Panel(
                    "Ends of batches",
                    "Only `complete` is good; `overdue` may end yet. The rows of the "
                    "others are sent again by themselves.",
                    (Query(f"60 * {rate('batch_ends', 'end')}", "{{end}}"),),
                    "opm",
                    "stack",
                ),
                Panel(
                    "Answers about batches",
                    "`incomplete` is normal for some minutes. `unknown` is an answer "
                    "that could not be read.",
                    (
                        Query(
                            f"60 * {rate('status_answers', 'progress')}", "{{progress}}"
                        ),
                    ),
                    "opm",
                ),
                Panel(
                    "Rows not applied",
                    "Failed rows are sent again, three times at most. Not found: v1 "
                    "makes no new profiles. Rejected rows are kept with their reason.",
                    (
                        Query(rate("failed_updates"), "failed"),
                        Query(rate("profiles_not_found"), "not found"),
                        Query(rate("rejected_rows", "reason"), "rejected: {{reason}}"),
                        Query(rate("confirmed_rows"), "confirmed"),
                        Query(rate("row_warnings", "what"), "sent, but: {{what}}"),
                    ),
                    "cps",
                ),
                Panel(
                    "Sent anew, and looked up",
                    "Rows of unchanged profiles put among the waiting ones; confirmed "
                    "rows that were fetched from Target. `lost` ones are sent again.",
                    (
                        Query(rate("resent_rows", "cause"), "{{cause}}"),
                        Query(rate("sampled_rows", "found"), "looked up: {{found}}"),
                    ),
                    "cps",
                ),
                Panel(
                    "Under way",
                    "Batches that Target has accepted and not ended, and rows that "
                    "wait for a file. Rising without end: Target is stuck.",
                    (
                        Query(f"sum({series('in_flight_batches')})", "batches"),
                        Query(f"sum({series('pending_rows')})", "rows waiting"),
                    ),
                    "short",
                ),
                Panel(
                    "From event to Target",
                    "The objective: 99 % confirmed within an hour.",
                    (
                        Query(
                            quantile(0.5, "event_to_accepted_seconds"), "accepted p50"
                        ),
                        Query(
                            quantile(0.99, "event_to_accepted_seconds"), "accepted p99"
                        ),
                        Query(
                            quantile(0.5, "event_to_confirmed_seconds"), "confirmed p50"
                        ),
                        Query(
                            quantile(0.99, "event_to_confirmed_seconds"),
                            "confirmed p99",
                        ),
                    ),
                    "s",
                    steps=(t.DELIVERY.seconds, 2 * t.DELIVERY.seconds),
                ),
                Panel(
                    "Age of what Target has not",
                    "The oldest event of each partition that Target has not accepted.",
                    (Query(owned("lag_seconds", "", stage="upload"), "{{partition}}"),),
                    "s",
                    steps=(t.UPLOAD_LAG_SECONDS_WARN, t.UPLOAD_LAG_SECONDS_BAD),
                ),
            ),
        ),
        Row(
            "Where the time goes",
            (
                _steps(
                    "intake",
                    "Taking profiles in",
                    "Mostly idle is good. Backpressure: rows cannot leave fast enough, "
                    "so look at the budget and the answers.",
                ),
                _steps(
                    "sealing",
                    "Sealing files",
                    "`wait_budget`: calls are scarce. `wait_posts`: calls are slow.",
                ),
                _steps(
                    "delivery",
                    "Files under way",
                    "The height is the mean number of files under way, four at most. "
                    "Mostly `post`: the network or Target. Mostly `ledger`: Kafka.",
                ),
                _steps(
                    "confirmation",
                    "Following batches",
                    "Mostly idle is good; `wait_budget`: files need the calls.",
                ),
            ),
        ),
        Row(
            "Guards",
            (
                Panel(
                    "Memory of rows",
                    "Bounded: full pauses the reading of profiles.",
                    (Query(series("pending_bytes"), "{{instance}}"),),
                    "bytes",
                ),
                Panel(
                    "Token",
                    "Days until the profile token ends, where the token says so. A new "
                    "one ends the old one for everybody at once.",
                    (
                        Query(
                            "(min("
                            f"{series('token_expiry_timestamp_seconds')}"
                            ") - time()) / 86400",
                            "days",
                        ),
                    ),
                    "d",
                    steps=(2 * t.TOKEN_DAYS, t.TOKEN_DAYS),
                    empty="the token does not say when it ends",
                ),
                Panel(
                    "Versions that went back",
                    "Must stay 0. Otherwise something else writes to the topic of "
                    "profiles: see the runbook, PosConsumerVersionWentBack.",
                    (
                        Query(
                            "sum by (kind) (increase("
                            f"{series('version_regressions')}[$__rate_interval]))",
                            "{{kind}}",
                        ),
                    ),
                    "short",
                    steps=(1, 1),
                ),
            ),
        ),
    ),
)
