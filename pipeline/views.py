"""Live views that somebody looks at: opened when they are first asked for, shared, closed when nobody asks any more."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from plantain.operators.render.looks import Look, Picture
from plantain.pipeline.commands import Shot, Want, Watch
from plantain.pipeline.engine import Engine

# A view that nobody has asked for in this long is closed.
LEASE_S = 4.0
# Where there is nothing to be seen, it is looked for again after this long.
AGAIN_S = 1.0


@dataclass(slots=True)
class _View:
    """One view.

    Attributes:
        asked_s: When somebody last asked for it.
        shot: Its newest picture.
    """

    asked_s: float
    shot: Shot | None = None


class Views:
    """The views of one run; touched by the engine's loop only."""

    def __init__(self) -> None:
        self._views: dict[Want, _View] = {}
        self._number = time.time_ns() // 1000
        self._tended_s = 0.0

    def newer(self, watch: Watch, engine: Engine, now: float) -> list[Shot]:
        """The newest picture of each view that is newer than the one seen; keeps them open."""
        new = {want.stream_id for want in watch.wants if want not in self._views}
        views = [self._views.setdefault(want, _View(now)) for want in watch.wants]
        for view in views:
            view.asked_s = now
        _tell(engine, new, self._views)
        shots = [view.shot for view in views if view.shot is not None]
        return [shot for shot in shots if shot.number > watch.seen.get(shot.want, 0)]

    def take(self, picture: Picture) -> None:
        """A picture has come."""
        want = Want(picture.stream_id, picture.prompt, picture.fps, picture.long_side)
        if (view := self._views.get(want)) is not None:
            self._number += 1
            view.shot = Shot(want, self._number, picture.jpeg, picture.time_s, picture.latency_ms)

    def tend(self, engine: Engine, now: float) -> None:
        """Closes what nobody looks at, and looks again for streams that were not there."""
        if not self._views or now < self._tended_s + min(AGAIN_S, LEASE_S / 4):
            return
        self._tended_s = now
        looked_at = {want.stream_id for want in self._views}
        self._views = {want: view for want, view in self._views.items() if view.asked_s > now - LEASE_S}
        _tell(engine, looked_at, self._views)

    def close(self) -> None:
        """The run has ended, and with it all views; they are opened again when they are asked for."""
        self._views.clear()

    def __len__(self) -> int:
        return len(self._views)


def _tell(engine: Engine, stream_ids: Iterable[str], wants: Iterable[Want]) -> None:
    """Has the engine draw what is looked at of these streams, and nothing else."""
    for stream_id in stream_ids:
        stream = engine.streams.get(stream_id)
        if stream is None:
            continue
        looks = tuple(
            Look(want.prompt, want.fps, want.long_side)
            for want in wants
            if want.stream_id == stream_id and (not want.prompt or want.prompt in stream.prompts)
        )
        if looks != stream.looks:
            engine.watch(stream_id, looks)
