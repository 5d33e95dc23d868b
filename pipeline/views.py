"""Live views that somebody looks at: opened when they are first asked for, shared, closed when nobody asks any more."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from plantain.operators.render.looks import Look, Picture
from plantain.pipeline.commands import Watch
from plantain.pipeline.engine.engine import Engine

# A view that nobody has asked for in this long is closed.
LEASE_S = 4.0
# Where there is nothing to be seen, it is looked for again after this long.
AGAIN_S = 1.0


@dataclass(slots=True)
class _View:
    """One view.

    Attributes:
        asked_s: When somebody last asked for it.
        picture: The newest.
        handle: The executor's reference to its file.
    """

    asked_s: float
    picture: Picture | None = None
    handle: Any = None


class Views:
    """The views of one run; touched by the engine's loop only."""

    def __init__(self) -> None:
        self._views: dict[Look, _View] = {}
        self._number = time.time_ns() // 1000
        self._tended_s = 0.0

    def newer(self, watch: Watch, engine: Engine, now: float) -> list[tuple[Picture, Any]]:
        """The newest picture of each look that is newer than the one seen, and its file; keeps the views open."""
        views = [self._views.setdefault(look, _View(now)) for look in watch.looks]
        for view in views:
            view.asked_s = now
        _tell(engine, {look.stream_id for look in watch.looks if not _is_drawn(look, engine)}, self._views)
        shown = [(view.picture, view.handle) for view in views if view.picture is not None]
        return [each for each in shown if each[0].number > watch.seen.get(each[0].look, 0)]

    def take(self, picture: Picture, handle: Any) -> None:
        """A picture has come."""
        if (view := self._views.get(picture.look)) is not None:
            self._number += 1
            view.picture, view.handle = replace(picture, number=self._number), handle

    def forget(self, stream_id: str) -> None:
        """A stream is gone: what was seen of it is not what another of its name looks like."""
        for look, view in self._views.items():
            if look.stream_id == stream_id:
                view.picture = view.handle = None

    def tend(self, engine: Engine, now: float) -> None:
        """Closes what nobody looks at, and looks again for streams that were not there."""
        if not self._views or now < self._tended_s + min(AGAIN_S, LEASE_S / 4):
            return
        self._tended_s = now
        looked_at = {look.stream_id for look in self._views}
        self._views = {look: view for look, view in self._views.items() if view.asked_s > now - LEASE_S}
        _tell(engine, looked_at, self._views)

    def close(self) -> None:
        """The run has ended, and with it all views; they are opened again when they are asked for."""
        self._views.clear()

    def __len__(self) -> int:
        return len(self._views)


def _is_drawn(look: Look, engine: Engine) -> bool:
    """Whether a stream knows that it is looked at so, or there is none."""
    stream = engine.streams.get(look.stream_id)
    return stream is None or look in stream.looks


def _tell(engine: Engine, stream_ids: Iterable[str], looks: Iterable[Look]) -> None:
    """Has the engine draw what is looked at of these streams, and nothing else."""
    for stream_id in stream_ids:
        if (stream := engine.streams.get(stream_id)) is None:
            continue
        shown = ("", *stream.prompts)
        wanted = tuple(look for look in looks if look.stream_id == stream_id and look.prompt in shown)
        if wanted != stream.looks:
            engine.lives.watch(stream_id, wanted)
