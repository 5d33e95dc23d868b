"""What a run shows while it works: a bar for each stream on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Set
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from plantain.operators.redaction import shown
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.stream import ENDED, Phase, Stream

# More bars than this do not fit on a screen; then only streams at work have one.
MAX_BARS = 20
LINE_EVERY_S = 5.0
# The rate shown is that of the last seconds: long enough to be calm, short enough to show a change.
RATE_WINDOW_S = 10.0


class _Rate(ProgressColumn):
    """Frames per second of the last seconds."""

    def render(self, task: Task) -> Text:
        rate = task.fields["rate"]
        return Text("" if rate is None else f"{rate:.1f} fps", style="cyan")


class Display:
    """Follows an engine. Use as a context manager, and hand `update` to the runner.

    Args:
        stream: Where to write; stderr if left out, so that stdout stays free for results.
        say: Takes each line instead, as `what`, where `stream` is no terminal.
    """

    def __init__(self, stream: TextIO | None = None, say: Callable[..., object] | None = None) -> None:
        self._file = stream or sys.stderr
        self._say = say
        self._console = Console(file=self._file)
        self._progress: Progress | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TextColumn("{task.fields[dropped]}"),
                TimeRemainingColumn(),
                console=self._console,
                refresh_per_second=4,
            )
        self._bars: dict[str, object] = {}
        self._history: dict[str, deque[tuple[float, int]]] = {}
        self._announced: dict[str, Phase] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> Display:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, engine: Engine) -> None:
        """Shows where the engine is."""
        streams = list(engine.streams.values())
        self._forget(engine.streams.keys())
        for stream in streams:
            rate = self._rate(stream)
            if self._progress is not None:
                self._draw(self._progress, stream, rate, num_streams=len(streams))
            self._announce(stream)
        if self._progress is None and time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            for stream in streams:
                if stream.phase not in ENDED and stream.phase is not Phase.WAITING:
                    self._print(f"{stream.stream_id}: {_counts(stream)}{_speed(stream, self._rate(stream))}")

    def _forget(self, known: Set[str]) -> None:
        """Streams that were removed are shown no more."""
        for stream_id in self._history.keys() - known:
            del self._history[stream_id]
            self._announced.pop(stream_id, None)
            bar = self._bars.pop(stream_id, None)
            if bar is not None and self._progress is not None:
                self._progress.remove_task(bar)  # type: ignore[arg-type]  # as below

    def _announce(self, stream: Stream) -> None:
        """One line when a stream ends, wherever we write to."""
        if stream.phase not in ENDED or self._announced.get(stream.stream_id) is stream.phase:
            return
        self._announced[stream.stream_id] = stream.phase
        self._print(describe_end(stream))

    def _print(self, line: str) -> None:
        if self._progress is not None:
            self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)
        elif self._say is not None:
            self._say(what=line)
        else:
            self._file.write(line + "\n")
            self._file.flush()

    def _draw(self, progress: Progress, stream: Stream, rate: float | None, *, num_streams: int) -> None:
        is_over = num_streams > MAX_BARS and stream.phase in ENDED
        bar = self._bars.get(stream.stream_id)
        if bar is None:
            if stream.phase is Phase.WAITING or is_over:
                return
            bar = progress.add_task(stream.stream_id, total=None, rate=None, dropped="")
            self._bars[stream.stream_id] = bar
        total = stream.info.num_frames if stream.info is not None else None
        finished = _finished(stream)
        if stream.phase in ENDED:
            total, rate = finished, None
        dropped = stream.account.dropped.total()
        progress.update(
            bar,  # type: ignore[arg-type]  # rich's TaskID is an int that rich itself made
            completed=finished,
            total=max(total, finished) if total is not None else None,
            rate=rate,
            dropped=f"{dropped} dropped" if dropped else "",
        )
        if is_over:
            progress.remove_task(bar)  # type: ignore[arg-type]  # as above
            del self._bars[stream.stream_id]

    def _rate(self, stream: Stream) -> float | None:
        now = time.monotonic()
        history = self._history.setdefault(stream.stream_id, deque())
        history.append((now, _finished(stream)))
        while history[0][0] < now - RATE_WINDOW_S:
            history.popleft()
        (first_s, first), (last_s, last) = history[0], history[-1]
        return (last - first) / (last_s - first_s) if last_s - first_s > 0.5 else None


def describe_end(stream: Stream) -> str:
    """How a stream ended, in a sentence."""
    damage = ""
    if stream.num_damaged:
        damage = f"; {stream.num_damaged} damaged packets in {shown(stream.start.spec.url)} were skipped"
    match stream.phase:
        case Phase.DONE:
            return f"{stream.stream_id}: done, {_counts(stream)}{damage}"
        case Phase.FAILED:
            return f"{stream.stream_id}: failed after {_counts(stream)}: {stream.error}{damage}"
        case _ if stream.is_leaving:
            return f"{stream.stream_id}: removed after {_counts(stream)}"
        case _:
            return f"{stream.stream_id}: interrupted after {_counts(stream)}; run the same command again to go on"


def summary(stream: Stream) -> dict[str, object]:
    """A stream's end for machines."""
    account = stream.account
    return {
        "stream_id": stream.stream_id,
        "status": str(stream.phase),
        "error": stream.error or None,
        "decoded": account.decoded,
        "results": account.results,
        "failed": dict(account.failed),
        "dropped": dict(account.dropped),
        "damaged_packets": stream.num_damaged,
        "cost_usd": stream.start.durable.cost_usd,
        "prompts": {
            prompt: {
                "decoded": book.decoded,
                "results": book.results,
                "failed": dict(book.failed),
                "dropped": dict(book.dropped),
            }
            for prompt, book in account.prompts.items()
        },
    }


def _finished(stream: Stream) -> int:
    account = stream.account
    return account.results + account.failed.total()


def _counts(stream: Stream) -> str:
    account = stream.account
    parts = [f"{_finished(stream)} frames"]
    if account.failed:
        parts.append(
            ", ".join(f"{count} failed in {stage}" for stage, count in sorted(account.failed.items()))
        )
    if account.dropped:
        parts.append(", ".join(f"{count} dropped ({why})" for why, count in sorted(account.dropped.items())))
    return ", ".join(parts)


def _speed(stream: Stream, rate: float | None) -> str:
    if rate is None or rate <= 0:
        return ""
    total = stream.info.num_frames if stream.info is not None else None
    left = f", {max(0, total - _finished(stream)) / rate:.0f} s left" if total is not None else ""
    return f", {rate:.1f} fps{left}"
