"""`pos-consumer`, but what it confirmed is looked up after seconds, not an hour."""

from __future__ import annotations

from consumer.cli import main
from consumer.stages import upload_sampling

if __name__ == "__main__":
    upload_sampling.PAUSES = (1.0, 1.0)  # type: ignore[misc]
    main()
