"""What a Target sandbox is told to be: one frozen group of settings."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class TargetOptions:
    """An account at Target, with Adobe's documented limits as defaults."""

    client: str = "acme"
    token: str | None = None  # set: the account requires authentication
    experience_cloud_id: bool = False  # set: v2 refuses `pcId`
    calls_per_minute: int = 50
    statuses_count: bool = True  # batchStatus counts against the calls a minute
    processing_time: float = 1.0  # seconds from a submission until its rows are applied
    status_lifetime: float = 86_400.0  # seconds that batchStatus remembers a batch
    status_base: str | None = None  # names another host in batchStatus URLs
    failed_rows_listed: bool = False  # batchStatus lists failed rows, as it used to
    profile_lifetime: float = 1_209_600.0  # seconds after the last activity: 14 days
    uploads_are_activity: bool = True  # Adobe does not say
    max_bytes: int = 50_000_000  # a batch file must be smaller
    max_rows: int = 500_000
    max_profile_bytes: int = 64_000
    single_updates_per_day: int = 1_000_000
    max_get_bytes: int = 8_000  # of a single update by GET
    max_post_bytes: int = 60_000
    journal_rows: int = 5_000_000  # uploaded rows kept in memory for the journal
