"""A worker of the source stage: reads, and is told something about streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from plantain.operators.prompts import Prompt
from plantain.operators.redaction import sentence_of
from plantain.operators.render.looks import Look
from plantain.operators.retry import retry
from plantain.operators.streams import Ease, ReadState, Start, StreamInfo
from plantain.operators.types import Request, Result
from plantain.pipeline import calls
from plantain.pipeline.calls import Call, Note
from plantain.pipeline.worker.base import Operator, StageWorker


class Reader(Operator, Protocol):
    """An operator that makes items (`pipeline.reader.PlannedReader`)."""

    def open(self, start: Start) -> StreamInfo:
        """A stream is to be read from where it starts."""
        ...

    def change(self, start: Start) -> None:
        """Something else is asked of its next frames."""
        ...

    def ease(self, stream_id: str, ease: Ease) -> None:
        """Less is asked of its next frames, or all again."""
        ...

    def watch(self, stream_id: str, looks: Sequence[Look]) -> None:
        """Pictures of it are wanted, or none any more."""
        ...

    def wait(self, stream_ids: Sequence[str], timeout_s: float) -> None:
        """Sleeps until one of several streams has something."""
        ...

    def read(self, stream_id: str, max_frames: int) -> Sequence[Request | Result]:
        """Its next items."""
        ...

    def peek(self, stream_id: str, query_id: str, prompts: tuple[Prompt, ...]) -> Sequence[Request]:
        """Its newest frame, as a query asks it."""
        ...

    def state(self, stream_id: str) -> ReadState:
        """How far reading it has come."""
        ...

    def close(self, stream_id: str | None = None) -> None:
        """Closes one stream, or all."""
        ...


class ReaderWorker(StageWorker[Reader]):
    """A worker of the source stage."""

    def do(self, call: Call, payloads: Sequence[Sequence[Any]]) -> tuple[list[Request | Result], list[Note]]:
        """Reads, or is told something about a stream."""
        del payloads
        reader, stream_id = self.operator, call.stream_id
        items: list[Request | Result] = []
        match call.work:
            case calls.Poll(wanted, wait_s):
                reader.wait([each.stream_id for each in wanted], wait_s)
                notes = [
                    note for each in wanted for note in self._read(each.stream_id, each.max_frames, items)
                ]
            case calls.Read(wanted):
                notes = self._read(stream_id, wanted.max_frames, items)
            case calls.Peek(query_id, prompts):
                notes = self.about_stream(
                    call, lambda: items.extend(reader.peek(stream_id, query_id, prompts))
                )
            case calls.Open(start):
                notes = self.about_stream(call, lambda: reader.open(start))
            case calls.Change(start):
                notes = self.about_stream(call, lambda: reader.change(start))
            case calls.Relieve(ease):
                notes = self.about_stream(call, lambda: reader.ease(stream_id, ease))
            case calls.Watch(looks):
                notes = self.about_stream(call, lambda: reader.watch(stream_id, looks))
            case calls.Close():
                notes = self.behind_stream(call, lambda: reader.close(stream_id))
            case _:
                notes = []
        return items, notes

    def _read(self, stream_id: str, max_frames: int, items: list[Request | Result]) -> list[Note]:
        """Adds the next items of a stream; one that fails does not touch the others."""
        try:
            items += retry(lambda: self.operator.read(stream_id, max_frames), self.stage.name, self.sleep)
            return [self.operator.state(stream_id)]
        except Exception as error:  # noqa: BLE001 - a user's source may raise anything; it ends this stream only
            return [calls.StreamError(stream_id, self.stage.name, sentence_of(error))]
