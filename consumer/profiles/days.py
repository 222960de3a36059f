"""Calendar days: of moments, in a time zone, as numbers since 1970-01-01.

The day of a moment is its date on a calendar that hangs in that zone, so a day may have
23 or 25 hours. Pure.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from consumer.profiles.columns import Ints

EPOCH: Final = date(1970, 1, 1)
DAY_SECONDS: Final = 86_400
DAY_MICROS: Final = DAY_SECONDS * 1_000_000


def local_days(micros: Ints, zone: str) -> Ints:
    """Give the day of each moment, in microseconds since the epoch."""
    if zone == "UTC":
        days: Ints = micros // DAY_MICROS
        return days
    moments = pl.Series(micros).cast(pl.Datetime("us", "UTC"))
    dates = moments.dt.convert_time_zone(zone).dt.date()
    return dates.to_physical().to_numpy().astype(np.int64)


def day_of(seconds: float, zone: str) -> int:
    """Give the day of one moment, in seconds since the epoch."""
    return int(local_days(np.array([int(seconds * 1_000_000)]), zone)[0])


def begins_at(day: int, zone: str) -> float:
    """Give when a day begins, in seconds since the epoch."""
    midnight = datetime.combine(EPOCH + timedelta(days=day), time.min)
    if zone == "UTC":
        return midnight.replace(tzinfo=UTC).timestamp()
    return midnight.replace(tzinfo=ZoneInfo(zone)).timestamp()
