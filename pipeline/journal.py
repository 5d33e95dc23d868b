"""What a run says of itself in the log: how streams are, a line for each that ends, and one a minute for all."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping

import structlog

from plantain.operators.health import HealthEvent, HealthState
from plantain.operators.redaction import shown
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.stream import ENDED, Phase, Stream

# One line so often, whatever the number of streams, seconds.
BEAT_S = 60.0

# What is no reason to look.
QUIET: frozenset[HealthState] = frozenset(
    (
        "connecting", "live", "changed", "ended", "added", "paused", "resumed", "reconfigured", "recovered",
        "removed",
    )
)  # fmt: skip

# Steps on the ladders of overload, which cameras take together and again and again: one line a minute for all of them,
# the heartbeat has their number. Those who listen hear of each.
STEPS: frozenset[HealthState] = frozenset(("slowed", "recovered"))
STEPS_EVERY_S = 60.0

UNREAD_REMEDY = "split it, or join recordings with ffmpeg -f concat"

log = structlog.get_logger()


class Journal:
    """Follows an engine; hand `update` to the runner.

    Args:
        out: The output folder, whose disk is watched where it is one of this machine.
        clock: Seconds, monotonic.
    """

    def __init__(self, out: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._ended: dict[str, Phase] = {}
        self._books: dict[str, Counter[str]] = {}
        self._streams: dict[str, Stream] = {}
        self._gone: Counter[str] = Counter()  # of streams that have left since the last heartbeat
        self._begun_s: float | None = None

    def update(self, engine: Engine) -> None:
        """Says what there is to say."""
        streams = engine.streams
        for stream_id in self._ended.keys() - streams.keys():
            del self._ended[stream_id]
        for stream_id, stream in self._streams.items():
            if streams.get(stream_id) is not stream:
                self._gone += _book_of(stream) - self._books.pop(stream_id, Counter())
        self._streams = dict(streams)
        for stream in streams.values():
            self._end(stream)
        now = self._clock()
        if self._begun_s is None:
            self._begun_s, self._books = now, _books_of(streams)
        elif now - self._begun_s >= BEAT_S:
            self._beat(engine, now - self._begun_s, now)
            self._gone = Counter()
            self._begun_s, self._books = now, _books_of(streams)

    def _end(self, stream: Stream) -> None:
        """One line when a stream ends; that a camera failed has been said when it was told of."""
        stream_id, phase = stream.stream_id, stream.phase
        if phase not in ENDED:
            self._ended.pop(stream_id, None)
            return
        if self._ended.get(stream_id) is phase:
            return
        self._ended[stream_id] = phase
        if stream.start.is_recording and phase is not Phase.INTERRUPTED:
            return  # it is told of when it leaves
        figures = figures_of(stream)
        _tell_unread(stream)
        if phase is Phase.INTERRUPTED:
            figures |= {"remedy": "run the same command again to go on"}
        if phase is not Phase.FAILED:
            log.info(str(phase), stream=stream_id, **figures)
        elif not stream.is_live:
            log.error(str(phase), stream=stream_id, error=stream.error, **figures)

    def _beat(self, engine: Engine, elapsed_s: float, now: float) -> None:
        """The minute in one line: streams by state, what became of their frames, how late answers are, the disk."""
        news = Counter(self._gone)
        for stream_id, book in _books_of(engine.streams).items():
            news += book - self._books.get(stream_id, Counter())
        lags = [
            lag_s
            for stream in engine.streams.values()
            if stream.is_live and (lag_s := stream.recent.latency_s(now)) is not None
        ]
        log.info(
            "heartbeat",
            streams=dict(Counter(stream.state for stream in engine.streams.values())),
            slowed=sum(any(stream.rungs.values()) for stream in engine.streams.values()),
            answered_per_s=round(news["answered"] / elapsed_s, 2),
            failed=news["failed"],
            lost=news["lost"],
            in_flight=engine.frames_in_flight,
            lag_s=round(max(lags), 3) if lags else None,
            disk_free_gb=self._disk_free_gb(),
        )

    def _disk_free_gb(self) -> float | None:
        """What is left where the output is; None where that is not known."""
        try:
            folder = self._out.removeprefix("file://")
            return None if "://" in folder else round(shutil.disk_usage(folder).free / 1e9, 1)
        except OSError:
            return None


def figures_of(stream: Stream) -> dict[str, int | str]:
    """What became of a stream's frames, and whether its file is damaged, as a line of the log says it."""
    figures: dict[str, int | str] = {
        name: count for name, count in _book_of(stream).items() if count or name == "answered"
    }
    if stream.num_damaged:
        figures |= {"damaged_packets": stream.num_damaged, "source": shown(stream.start.spec.url)}
    if stream.unread_bytes:
        figures |= {"unread_bytes": stream.unread_bytes, "source": shown(stream.start.spec.url)}
    return figures


def tell_recording(stream: Stream) -> None:
    """The one line about a recording of a watched folder, when it leaves: that it was read, or why not."""
    figures = figures_of(stream)
    _tell_unread(stream)
    if stream.phase is Phase.FAILED:
        log.error("failed", stream=stream.stream_id, error=stream.error, **figures)
    else:
        log.info("read" if stream.phase is Phase.DONE else "removed", stream=stream.stream_id, **figures)


def _tell_unread(stream: Stream) -> None:
    """A warning where an end looks good and is none."""
    if stream.unread_bytes:
        log.warning(
            "unread",
            stream=stream.stream_id,
            source=shown(stream.start.spec.url),
            unread_bytes=stream.unread_bytes,
            remedy=UNREAD_REMEDY,
        )


def tell_health(
    event: HealthEvent, stream: Stream | None, stepped_s: dict[HealthState, float], now: float
) -> None:
    """One line for each change of a stream's health, but for what is told elsewhere.

    Args:
        event: What happened.
        stream: The stream, if it is not gone.
        stepped_s: When a step of each kind was told last, by this clock.
        now: The clock.
    """
    if stream is not None and (
        (event.state == "failed" and not stream.is_live)  # how files end is told with their figures
        or (event.state in ("added", "removed") and stream.start.is_recording)  # once, when it leaves
    ):
        return
    if event.state in STEPS:
        if now - stepped_s.get(event.state, float("-inf")) < STEPS_EVERY_S:
            return
        stepped_s[event.state] = now
    say = log.error if event.state == "failed" else log.info if event.state in QUIET else log.warning
    say(event.state, stream=event.stream_id, epoch=event.epoch, what=event.sentence)


def _books_of(streams: Mapping[str, Stream]) -> dict[str, Counter[str]]:
    return {stream_id: _book_of(stream) for stream_id, stream in streams.items()}


def _book_of(stream: Stream) -> Counter[str]:
    account = stream.account
    return Counter(
        answered=account.results,
        failed=account.failed.total(),
        lost=account.lost.total(),
        skipped=account.skipped.total(),
    )
