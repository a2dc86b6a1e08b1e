"""Looks up the name of a target, and checks every address that it has.

Only targets that go through a `Targets` are looked up here; for trusted ones the libraries do it themselves.
"""

from __future__ import annotations

import asyncio
import socket

from flow_core.errors import Unavailable
from flow_core.net.egress import Target, Targets

__all__ = ["resolve"]


async def resolve(target: Target, targets: Targets) -> list[tuple[int, str]]:
    """The (family, address) of the target, in the system's order of preference; all of them allowed.

    Raises:
        TargetRefused: its name, its port or one of its addresses is not allowed.
        Unavailable: the name is not known now.
    """
    targets.check_name(target)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(f"the name of {target} can't be looked up: {error.strerror or error}") from error
    addresses = [(int(family), str(where[0])) for family, _, _, _, where in found]
    if not addresses:
        raise Unavailable(f"the name of {target} has no address")
    targets.check_addresses(target, [address for _, address in addresses])
    return addresses
