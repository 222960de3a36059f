"""When a profile token ends, where it says so itself. Pure."""

import base64
import binascii
import json

_PARTS = 3


def token_expiry(token: str) -> float | None:
    """Return a JWT's `exp` (seconds since the epoch); None for any other token."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        return None
    try:
        claims = json.loads(
            base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        )
    except (binascii.Error, ValueError):
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    return float(expiry) if isinstance(expiry, int | float) else None
