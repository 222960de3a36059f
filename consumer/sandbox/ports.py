"""Ports of this machine that a part of the sandbox can listen on."""

from __future__ import annotations

import random
import socket
from typing import Final

HOST: Final = "127.0.0.1"
# Below the ports that the system hands out to outgoing connections: a client that
# retries a stopped broker on such a port can end up connected to itself, and hold it.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port that is free now; who binds it must be ready to lose the race."""
    while not is_free(port := random.SystemRandom().choice(_PORTS)):
        pass
    return port


def is_free(port: int) -> bool:
    """Whether a server could bind the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
