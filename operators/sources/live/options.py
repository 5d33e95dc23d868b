"""The options of a live source, read once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, cast

from plantain.operators.errors import UsageError
from plantain.operators.sources.live.address import NO, is_yes, kind_of
from plantain.operators.sources.live.hosts import checked_host
from plantain.operators.sources.live.ring import POLICIES, Policy
from plantain.operators.streams import StreamSpec

HLS_TIMEOUT_S = 20.0  # two segments of the longest usual length
STALENESS_S = 1.0  # what a viewer still calls live
MAX_RING = 10_000  # frames


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What `StreamSpec.options` of a live source may say; all of it may be left out.

    Attributes:
        policy: What happens when frames come faster than they are read (see `Ring`).
        ring: How many frames may wait for their reader.
        max_staleness_s: Frames that have waited longer are dropped, seconds; a second unless said otherwise, but none
            with `block`.
        keyframes_only: Decode only keyframes, at a tenth of the cost; the others are not counted as decoded.
        deinterlace: Make one picture of two fields where a camera interlaces.
        timeout_s: A connection on which nothing comes for so long is given up, seconds; 20 for HLS, unless said
            otherwise, as it brings nothing between two segments.
        transport: How RTSP brings its packets.
        epoch: Of the first connection; counted up at each further one.
        backoff_s, backoff_max_s: First and longest pause between attempts, seconds; a camera that is back is live again
            after at most the longest.
        patience_s, patience_max_s: The same after an answer that trying again will not change soon (wrong password,
            nothing there); long, as cameras lock accounts after a few wrong passwords.
        frozen_s: The same picture for so long is a frozen camera, seconds.
        hosts: Hosts, addresses and networks that it may connect to, separated by spaces, of an address that somebody
            outside has named (`guard.py`); empty for any.
        seed: Of the chance in the pauses.
        realtime: The URL is a file, to be played at its own pace as if it were a camera.
        loop: Play that file for ever.
    """

    policy: Policy = "drop_oldest"
    ring: int = 8
    max_staleness_s: float | None = STALENESS_S
    keyframes_only: bool = False
    deinterlace: bool = True
    timeout_s: float = 5.0
    transport: Literal["tcp", "udp"] = "tcp"
    epoch: int = 0
    backoff_s: float = 0.5
    backoff_max_s: float = 8.0
    patience_s: float = 10.0
    patience_max_s: float = 300.0
    frozen_s: float = 10.0
    hosts: str = ""
    seed: int = 0
    realtime: bool = False
    loop: bool = False

    @classmethod
    def of(cls, spec: StreamSpec) -> LiveOptions:
        """The options of a stream.

        Raises:
            UsageError: If one is unknown, or is not what it must be.
        """
        known = {field.name: field.default for field in fields(cls)}
        unknown = sorted(set(spec.options) - set(known))
        if unknown:
            raise UsageError(
                f"stream '{spec.stream_id}': live sources have no option {', '.join(unknown)}; "
                f"they have {', '.join(known)}"
            )
        given: dict[str, Any] = {
            name: _value(spec, name, text, known[name]) for name, text in spec.options.items()
        }
        if kind_of(spec.url) == "hls":
            given = {"timeout_s": HLS_TIMEOUT_S, **given}
        if given.get("policy") == "block":
            given = {"max_staleness_s": None, **given}
        return cls(**given)


def _value(spec: StreamSpec, name: str, text: str, default: object) -> object:
    """What an option's text means, judged by its default."""
    if name in _CHOICES:
        if text not in _CHOICES[name]:
            raise _refusal(spec, name, text, f"one of {', '.join(_CHOICES[name])}")
        return text
    if name == "hosts":
        try:
            return " ".join(map(checked_host, text.split()))
        except ValueError as error:
            raise UsageError(f"stream '{spec.stream_id}': option hosts: {error}") from error
    if isinstance(default, bool):
        if not (is_yes(text) or text.lower() in NO):
            raise _refusal(spec, name, text, "true or false")
        return is_yes(text)
    is_whole = isinstance(default, int)
    try:
        number = int(text) if is_whole else float(text)
    except ValueError as error:
        raise _refusal(spec, name, text, "a whole number" if is_whole else "a number of seconds") from error
    smallest = {"ring": 1, "epoch": 0, "seed": None}.get(name, 0) if is_whole else None
    if is_whole and smallest is not None and number < smallest:
        raise _refusal(spec, name, text, f"at least {smallest}")
    if name == "ring" and number > MAX_RING:
        raise _refusal(spec, name, text, f"at most {MAX_RING}")
    if not is_whole and not 0 < number < float("inf"):
        raise _refusal(spec, name, text, "a number of seconds above 0")
    return number


_CHOICES = cast("dict[str, tuple[str, ...]]", {"policy": POLICIES, "transport": ("tcp", "udp")})


def _refusal(spec: StreamSpec, name: str, text: str, wanted: str) -> UsageError:
    return UsageError(f"stream '{spec.stream_id}': option {name} is {wanted}, not '{text}'")
