"""The peers: other stream processors on the same job, the same topics, the same check.

A peer that cannot be set up raises `PeerUnavailable`; it is then skipped, and said so.
"""

from consumer.errors import SandboxError


class PeerUnavailable(SandboxError):  # noqa: N818 - a fact, as its kin in errors.py
    """A peer cannot be set up on this machine."""
