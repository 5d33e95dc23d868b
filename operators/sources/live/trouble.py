"""What an error of FFmpeg means for a camera, by its type and by how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from errno import EIO, EMFILE, ENFILE

import av

from plantain.operators.errors import NoVideoError
from plantain.operators.health import HealthState
from plantain.operators.redaction import redact

# A camera that says nothing shows itself as "invalid data" once the timeout is over (PyAV 18.1, 2026-11), and one that
# talks nonsense by the same error at once; timers may fire a little early.
_SHARE_OF_TIMEOUT = 0.8

_UNAUTHORISED = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError, PermissionError)
_NOT_FOUND = (av.error.HTTPNotFoundError, FileNotFoundError)
_TIMEOUTS = (TimeoutError, av.error.ExitError)

LASTING: frozenset[HealthState] = frozenset(("unauthorised", "not_found"))
"""Answers that trying again will not change soon."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no connection.

    Attributes:
        state: Its name.
        what: What the camera did, to follow its address in a sentence.
        advice: What to check.
    """

    state: HealthState
    what: str
    advice: str


def trouble_at_opening(error: Exception, elapsed_s: float, timeout_s: float) -> Trouble:
    """What kept a stream from being opened.

    Args:
        error: What was raised; its text is not used, as it holds the address with the password.
        elapsed_s: How long the attempt took, seconds.
        timeout_s: The limit for the other side's silence, seconds.
    """
    if isinstance(error, _UNAUTHORISED):
        return Trouble("unauthorised", "refuses these credentials", "check user name and password")
    if isinstance(error, _NOT_FOUND):
        return Trouble("not_found", "has nothing at this path", "check the path, or plug the device in")
    if isinstance(error, NoVideoError):
        return Trouble("no_video", f"gives {error}", "check which stream of the camera this is")
    if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):
        return Trouble(
            "refused",
            "cannot be opened: no file descriptor is left here",
            "raise this machine's limit (ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of Docker)",
        )
    if isinstance(error, _TIMEOUTS) or elapsed_s >= _SHARE_OF_TIMEOUT * timeout_s:
        return Trouble(
            "silent",
            f"did not answer for {elapsed_s:.1f} s (limit {timeout_s:g} s)",
            "restart the camera if this lasts, or check that it allows a further client",
        )
    if isinstance(error, ConnectionRefusedError):
        return Trouble("refused", "refuses connections", "check that the camera is on and the port is right")
    if isinstance(error, EOFError | ConnectionResetError):
        return Trouble("lost", "hung up without an answer", "check that it allows a further client")
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError | ValueError):
        # A server that hangs up while it starts shows itself so, too: worth another attempt soon.
        return Trouble("no_video", "answers with no video, or not to the end", "check address and port")
    if (
        isinstance(error, OSError) and error.errno == EIO
    ):  # FFmpeg's word for a name that is unknown, among others
        return Trouble(
            "refused", "cannot be reached, or gives nothing", "check that its name is right and it is on"
        )
    return Trouble("refused", f"cannot be reached ({_reason(error)})", "check the address and the network")


def trouble_at_reading(error: Exception | None, silent_s: float, timeout_s: float) -> Trouble:
    """What ended a connection that was open.

    Args:
        error: What was raised; None if the stream came to its end, as it does when a camera is switched off.
        silent_s: How long nothing had come, seconds.
        timeout_s: The limit for it, seconds.
    """
    if isinstance(error, _TIMEOUTS) or (error is not None and silent_s >= _SHARE_OF_TIMEOUT * timeout_s):
        return Trouble(
            "silent",
            f"sent nothing for {silent_s:.1f} s (limit {timeout_s:g} s)",
            "if this repeats, check the network and the camera's load",
        )
    how = "ended the stream" if error is None else f"broke the connection ({_reason(error)})"
    return Trouble("lost", how, "if this repeats, check that the camera allows a further client")


def _reason(error: Exception) -> str:
    """The system's own words, which hold no address."""
    return redact(getattr(error, "strerror", None) or type(error).__name__)
