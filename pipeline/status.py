"""One stream as its users see it."""

from __future__ import annotations

from dataclasses import dataclass

from plantain.operators.redaction import shown
from plantain.pipeline.engine.stream import ENDED, Stream

REMOVING = "removing"
"""The phase, as users see it, of a stream that is removed and not drained yet."""


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """How a stream is doing.

    Attributes:
        stream_id: Its name.
        url: Where it is, without secrets.
        prompts: What is asked of it.
        phase: Where it is in its life (`stream.Phase`), or `removing`.
        health: How its camera was last (`types.HealthState`); empty for files.
        error: Why it failed.
        is_live: It cannot be read again.
        fps: Results per second, over the last 5 s.
        latency_ms: From capture (or arrival) to result, median of the last 5 s; None without results.
        rung: Of the overload ladder; 0 for everything that was asked.
        width, height: Of the source picture, pixels; 0 while unknown.
        decoded, results, in_flight, lost, skipped, failed: Its books, in frames (`books.Book`).
        reconnects: Times that its camera came back.
        asked_fps: The limit that was asked for; None for all frames.
        newest_frame_s: How long ago its newest frame arrived, seconds; None before the first.
        state: How it is, in one word (`Stream.state`): live, silent, frozen, refused, paused, failed, ...
        why: What was told of it last, with the remedy; empty where there is nothing to tell.
        since_ns: When that was, ns since 1970 UTC; None before.
        behind: What its sinks keep on disk for somebody who is away; empty for nothing.
        deleted: What of the results was deleted since it is kept no longer; empty for nothing.
    """

    stream_id: str
    url: str
    prompts: tuple[str, ...]
    phase: str
    health: str
    error: str
    is_live: bool
    fps: float
    latency_ms: float | None
    rung: int
    width: int
    height: int
    decoded: int
    results: int
    in_flight: int
    lost: dict[str, int]
    skipped: dict[str, int]
    failed: dict[str, int]
    reconnects: int
    asked_fps: float | None = None
    newest_frame_s: float | None = None
    state: str = ""
    why: str = ""
    since_ns: int | None = None
    behind: str = ""
    deleted: str = ""


def doing(stream: Stream, now: float) -> str:
    """How a stream is doing in few words, for lists: `live, 5 fps`."""
    return f"{stream.state}, {stream.recent.fps(now):.0f} fps"


def status_of(stream: Stream, now: float, behind: str = "", deleted: str = "") -> StreamStatus:
    """A stream's status.

    Args:
        stream: As the engine knows it.
        now: The engine's clock, seconds.
        behind: What its sinks keep on disk (`Backlogs.behind`).
        deleted: What of the results was deleted (`Deletions`).
    """
    account = stream.account
    latency_s = stream.recent.latency_s(now)
    return StreamStatus(
        stream.stream_id,
        shown(stream.start.spec.url),
        stream.prompts,
        REMOVING if stream.is_leaving and stream.phase not in ENDED else str(stream.phase),
        stream.health,
        stream.error,
        stream.is_live,
        stream.recent.fps(now),
        None if latency_s is None else latency_s * 1e3,
        stream.rung,
        *stream.size,
        account.decoded,
        account.results,
        account.in_flight,
        dict(account.lost),
        dict(account.skipped),
        dict(account.failed),
        stream.num_reconnects,
        stream.start.spec.sampling.fps,
        None if stream.newest_s is None else max(0.0, now - stream.newest_s),
        stream.state,
        stream.error or ("" if stream.told is None else stream.told.sentence),
        None if stream.told is None else stream.told.at_ns,
        behind,
        deleted,
    )
