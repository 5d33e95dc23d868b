"""Cameras whose address came from outside: only allowed hosts, at each connection, and no way round by redirection.

A name is resolved once for each connection, its addresses are judged, and the connection goes to the very address that
was judged, so that a name which changes its mind in between gains nothing. FFmpeg itself would follow an RTSP
redirection to anywhere; it is therefore given a relay on loopback, which hangs up when the camera answers with one.
"""

from __future__ import annotations

import contextlib
import fnmatch
import ipaddress
import re
import selectors
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import SplitResult, urlsplit, urlunsplit

from plantain.operators.errors import SourceError
from plantain.operators.redaction import shown
from plantain.operators.sources.live.address import Kind
from plantain.operators.sources.live.connection import AvConnection
from plantain.operators.sources.live.hosts import network_of
from plantain.operators.sources.live.options import LiveOptions
from plantain.operators.sources.pace import Pace

_REDIRECTION = re.compile(rb"RTSP/\d\.\d[ \t]+3\d\d")
_LONGEST = 64
_PORTS = {"rtsp": 554, "rtsps": 322}
_CHUNK = 65536
_POLL_S = 0.5


class AddressRefusedError(SourceError):
    """An address that may not be connected to."""


def judged_addresses(host: str, port: int, allowed: Sequence[str]) -> list[str]:
    """The addresses of a host that may be connected to, in the resolver's order.

    Args:
        host: A name or an address.
        port: For the resolver.
        allowed: Host names (`*.example.org`), addresses and networks. A name that is allowed may lead to public
            addresses; private, link-local, loopback and other special ones only where an address or a network names
            them.

    Raises:
        AddressRefusedError: If the host is not allowed, or leads to a special address.
        OSError: If the name cannot be resolved just now.
    """
    networks = [network for entry in allowed if (network := network_of(entry)) is not None]
    names = [entry.lower() for entry in allowed if network_of(entry) is None]
    literal = _address(host)
    if literal is not None:
        if not _is_in(literal, networks):
            raise AddressRefusedError(f"the address {host} is not among those that requests may name")
        return [host]
    is_named = any(fnmatch.fnmatchcase(host.lower().rstrip("."), name) for name in names)
    found = (
        [
            str(entry[4][0]).partition("%")[0]
            for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        ]
        if is_named or networks
        else []
    )
    addresses = list(dict.fromkeys(found))
    good = [
        address
        for address in addresses
        if _is_in(ipaddress.ip_address(address), networks)
        or (is_named and _is_public(ipaddress.ip_address(address)))
    ]
    if not good or len(good) < len(addresses):
        raise AddressRefusedError(
            f"the host {host} is not among those that requests may name, or leads to a private address"
        )
    return good


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:  # 127.1, 0x7f000001 and 2130706433 are addresses, too
        return ipaddress.ip_address(socket.inet_ntoa(socket.inet_aton(host)))
    except (OSError, UnicodeError):
        return None


def _is_in(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network],
) -> bool:
    plain = _unmapped(address)
    return any(plain in network for network in networks if network.version == plain.version)


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    plain = _unmapped(address)
    return plain.is_global and not plain.is_multicast


def _unmapped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address.sixtofour or address
    return address


class Relay:
    """One connection to a camera, passed on at a port of loopback; hangs up on redirections.

    Args:
        url: rtsp:// or rtsps://.
        allowed: As for `judged_addresses`.
        timeout_s: For the camera to accept the connection, seconds.

    Attributes:
        url: What to open in place of `url`.
        has_redirected: The camera tried to send us elsewhere.

    Raises:
        AddressRefusedError: If the address may not be connected to.
        OSError: If it cannot be resolved or connected to.
    """

    def __init__(self, url: str, allowed: Sequence[str], timeout_s: float) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme.lower()]
        address = judged_addresses(host, port, allowed)[0]
        self.has_redirected = False
        self._closing = threading.Event()
        camera = socket.create_connection((address, port), timeout_s)
        try:
            if parts.scheme.lower() == "rtsps":
                context = ssl.create_default_context()  # cameras sign their own certificates
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                camera = context.wrap_socket(camera, server_hostname=host)
            camera.settimeout(timeout_s)
            listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        except BaseException:
            camera.close()
            raise
        listener.settimeout(timeout_s)
        self.url = _through(parts, listener.getsockname()[1])
        self._thread = threading.Thread(
            target=self._run, args=(listener, camera), name="plantain-relay", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Hangs up."""
        self._closing.set()
        self._thread.join(2 * _POLL_S + 1)

    def _run(self, listener: socket.socket, camera: socket.socket) -> None:
        with camera, contextlib.suppress(OSError, ValueError):
            with listener:
                while not self._closing.is_set():
                    if _ready([listener]):
                        client, _ = listener.accept()
                        break
                else:
                    return
            with client:
                self._pass_on(client, camera)

    def _pass_on(self, client: socket.socket, camera: socket.socket) -> None:
        has_played = False
        tail = b""
        while not self._closing.is_set():
            is_pending = isinstance(camera, ssl.SSLSocket) and camera.pending() > 0
            ready = [camera] if is_pending else _ready([client, camera])
            for one in ready:
                data = one.recv(_CHUNK)
                if not data:
                    return
                if one is client:
                    has_played = has_played or data.startswith(b"PLAY ")
                elif not has_played:
                    if _REDIRECTION.search(tail + data):  # before its last byte was passed on
                        self.has_redirected = True
                        return
                    tail = (tail + data)[-_LONGEST:]
                (camera if one is client else client).sendall(data)


def _ready(sockets: Sequence[socket.socket]) -> list[socket.socket]:
    """Those of which something can be read, soon: by poll, as there are more descriptors than select knows."""
    with selectors.PollSelector() as poll:
        keys = {poll.register(each, selectors.EVENT_READ): each for each in sockets}
        return [keys[key] for key, _ in poll.select(_POLL_S)]


def _through(parts: SplitResult, port: int) -> str:
    """The address of a relay's port with the credentials and the path of the camera's."""
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(("rtsp", f"{credentials}{at}127.0.0.1:{port}", parts.path, parts.query, ""))


class GuardedConnection(AvConnection):
    """An RTSP stream through a relay; otherwise as `AvConnection`, and always over TCP.

    Raises:
        AddressRefusedError: If the camera is not among `options.hosts`, or sends us elsewhere.
    """

    def __init__(self, url: str, kind: Kind, options: LiveOptions, pace: Pace) -> None:
        if kind not in _PORTS:
            raise AddressRefusedError(f"{shown(url)}: only rtsp:// and rtsps:// can be limited to hosts")
        self._relay = Relay(url, options.hosts.split(), options.timeout_s)
        try:
            super().__init__(self._relay.url, "rtsp", replace(options, transport="tcp"), pace)
        except BaseException as error:
            self._relay.close()
            if self._relay.has_redirected:
                raise AddressRefusedError(
                    f"{shown(url)} redirects to another address, which is not followed"
                ) from error
            raise

    def close(self) -> None:
        """Gives back the sockets."""
        super().close()
        self._relay.close()
