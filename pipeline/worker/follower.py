"""A worker of a stage that follows streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from plantain.operators.following import Follower
from plantain.operators.redaction import sentence_of
from plantain.operators.render.looks import Picture
from plantain.operators.segments import Barrier
from plantain.operators.types import Result, joined
from plantain.pipeline import calls
from plantain.pipeline.calls import Call, Note
from plantain.pipeline.graph import Stage
from plantain.pipeline.worker.base import StageWorker


class FollowerWorker(StageWorker[Follower]):
    """A worker of a stage that follows streams."""

    def __init__(self, stage: Stage, sleep: Callable[[float], None]) -> None:
        super().__init__(stage, sleep)
        self._broken: set[str] = set()  # streams that failed here, and have not been closed or opened again

    def do(self, call: Call, payloads: Sequence[Sequence[Any]]) -> tuple[list[Result], list[Note]]:
        """Works on items, or is told something about a stream."""
        follower, stream_id = self.operator, call.stream_id
        match call.work:
            case calls.Run():
                whole = [joined(header, parts) for header, parts in zip(call.headers, payloads, strict=True)]
                return self._follow_all(whole)
            case calls.Open(start):
                self._broken.discard(stream_id)
                return [], self.about_stream(call, lambda: follower.open(start))
            case calls.Change(start):
                return [], self.about_stream(call, lambda: follower.change(start))
            case calls.Cut(barriers):
                return [], self._cut([each for each in barriers if each.stream_id not in self._broken])
            case calls.Watch(looks):
                return [], self.about_stream(call, lambda: follower.watch(stream_id, looks))
            case calls.Tell(event):
                return [], self.about_stream(call, lambda: follower.tell(event))
            case calls.Finish(promise):
                return [], self.about_stream(call, lambda: follower.finish(stream_id, promise))
            case calls.Weigh():
                self.backlogs = tuple(follower.backlogs())
                return [], []
            case calls.Close():
                self._broken.discard(stream_id)
                return [], self.behind_stream(call, lambda: follower.close(stream_id))
            case _:
                return [], []

    def _cut(self, barriers: list[Barrier]) -> list[Note]:
        """What has come of barriers; where that fails, all their streams end."""
        try:
            return list(self.operator.cut(barriers)) if barriers else []
        except Exception as error:  # noqa: BLE001 - a user's sink may raise anything
            said = sentence_of(error)
            return [calls.StreamError(barrier.stream_id, self.stage.name, said) for barrier in barriers]

    def _follow_all(self, items: Sequence[Result]) -> tuple[list[Result], list[Note]]:
        """Outputs and notes of each stream's run of items; a stream that fails does not touch the others.

        What is still on its way here when a stream fails comes to nothing: an operator never sees items behind a gap.
        """
        outputs: list[Result] = []
        notes: list[Note] = []
        for stream_id, group in groupby(items, lambda item: item.header.stream_id):
            batch = list(group)
            if stream_id in self._broken:
                continue
            try:
                for output in self.operator(batch):
                    if isinstance(output, Result):
                        outputs.append(output)
                    elif isinstance(output, Picture):
                        self.pictures.append(output)
                    else:
                        notes.append(output)
            except Exception as error:  # noqa: BLE001 - a user's sink may raise anything; it ends this stream only
                self._broken.add(stream_id)
                notes.append(calls.StreamError(stream_id, self.stage.name, sentence_of(error)))
        return outputs, notes
