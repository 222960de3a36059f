"""Faults on order from a file, for a sandbox that starts with them.

```toml
[[fault]]
kind = "http_503"      # any of FaultKind
probability = 0.1      # of the calls of `on` ("submit" without it)
calls = 0              # so many calls go wrong; 0: no end; 1 without it
since = 600            # seconds after the start; `until` ends it
```
The other members of `Fault` go the same way.
"""

import tomllib
from pathlib import Path

from consumer.errors import NOT_A_KEY, ConfigurationError
from consumer.sandbox.target.faults import Fault, fault_of


def read_orders(path: Path, now: float) -> list[Fault]:
    """Read the orders; ConfigurationError with what is wrong, and in which."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(
            str(path), NOT_A_KEY, f"expected a TOML file: {error}"
        ) from error
    orders = given.pop("fault", [])
    if given or not isinstance(orders, list):
        raise ConfigurationError(str(path), NOT_A_KEY, "expected only tables [[fault]]")
    found = []
    for number, order in enumerate(orders, 1):
        try:
            times = {at: now + order[at] for at in ("since", "until") if at in order}
            found.append(fault_of({**order, **times}))
        except (ValueError, KeyError, TypeError) as error:
            where = f"{path}, fault {number}"
            raise ConfigurationError(where, order, f"a fault: {error}") from error
    return found
