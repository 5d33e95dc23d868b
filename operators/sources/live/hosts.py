"""Which hosts may be meant: names, addresses and networks, as they are written in a configuration."""

from __future__ import annotations

import ipaddress
import re

# A letter or a star is in every name: what has neither is an address that is none.
_NAME = re.compile(r"(?=.*[^\W\d_]|.*\*)[\w.*-]+")


def network_of(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The network that an address or a network stands for; None of a name."""
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def checked_host(entry: str) -> str:
    """The entry itself, which means a host.

    Raises:
        ValueError: If it is no host name, address or network.
    """
    if network_of(entry) is None and not _NAME.fullmatch(entry):
        raise ValueError(
            f"'{entry}' is no host: write names (*.example.org), addresses (10.1.2.3) or networks (10.0.0.0/8)"
        )
    return entry
