"""A real RTSP camera: GStreamer's RTSP server with a clip, as a process that tests may kill and freeze.

It needs three packages of Debian, which have no wheels:
gir1.2-gst-rtsp-server-1.0, python3-gi and gstreamer1.0-plugins-good. Run as a program, by the system's Python,
this file is the server; imported, it starts and stops one.
"""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

PACKAGES = ("gir1.2-gst-rtsp-server-1.0", "python3-gi", "gstreamer1.0-plugins-good")
_PYTHON = "/usr/bin/python3"
_PROBE = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0'); "
    "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    "assert Gst.ElementFactory.find('rtph264pay') and Gst.ElementFactory.find('qtdemux')"
)
_START_S = 30.0


def why_missing() -> str | None:
    """None where a server can be started; the reason where not."""
    from tests import debian  # not at the top: as a program this file runs on another Python

    return debian.why_missing(PACKAGES, _works)


def _free_port() -> int:
    from tests.ports import free_port  # as above

    return free_port()


def _works() -> bool:
    if not Path(_PYTHON).exists():
        return False
    return (
        subprocess.run([_PYTHON, "-c", _PROBE], check=False, capture_output=True, timeout=60).returncode == 0
    )


class RtspServer:
    """A clip at `rtsp://127.0.0.1:PORT/cam`, from its first frame for every client, in real time, once.

    Args:
        clip: An mp4 with H.264.
        port: Where; a free one if left out. A port that was just used can be used again.
        credentials: `user:password` that clients must give; None for an open door.
        certificate: A PEM with its key: the server then speaks TLS, at `rtsps://`.
    """

    def __init__(
        self,
        clip: Path,
        port: int | None = None,
        credentials: str | None = None,
        certificate: Path | None = None,
    ) -> None:
        self._clip = clip
        self._credentials = credentials
        self._certificate = certificate
        self.port = port or _free_port()
        self._process: subprocess.Popen[str]
        self.start()

    def start(self) -> None:
        """Starts the process, again if it was killed, and waits until it listens."""
        arguments = [_PYTHON, __file__, str(self.port), str(self._clip)]
        arguments += [self._credentials or "", str(self._certificate or "")]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_S)
        if not ready or self._process.stdout.readline() != "ready\n":
            self.kill()
            raise RuntimeError(f"the RTSP server did not start within {_START_S} s")

    def url(self, path: str = "cam", credentials: str | None = None) -> str:
        """The address of a path, with the server's credentials or others."""
        own = credentials or self._credentials
        scheme = "rtsps" if self._certificate else "rtsp"
        return f"{scheme}://{own + '@' if own else ''}127.0.0.1:{self.port}/{path}"

    def freeze(self) -> None:
        """Stops it where it stands; its sockets stay open."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kills it as a power cut does."""
        self._process.kill()
        self._process.wait(_START_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def _serve(port: str, clip: str, credentials: str, certificate: str) -> None:
    """Serves until killed."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import Gio, GLib, Gst, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()  # not shared: every client starts at frame 0
    factory.set_launch(
        f'( filesrc location="{clip}" ! qtdemux ! rtph264pay name=pay0 pt=96 config-interval=-1 )'
    )
    if credentials or certificate:
        user, _, password = credentials.partition(":")
        role = user or "anybody"
        auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
        permissions = GstRtspServer.RTSPPermissions()
        token.set_string("media.factory.role", role)
        if credentials:
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        else:
            auth.set_default_token(token)
        if certificate:
            auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
        server.set_auth(auth)
        for what in ("access", "construct"):
            permissions.add_permission_for_role(role, f"media.factory.{what}", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
