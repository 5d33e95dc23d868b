"""A model, a source and a sink that die when a file tells them to: by the name of their stage, in a folder.

In a process of its own such a death is a SIGKILL; in a thread it is what ends a thread, SystemExit.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plantain.operators.models.base import Pixels
from plantain.operators.prompts import Prompt
from plantain.operators.segments import Position
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.sinks.rows import Rows
from plantain.operators.sources.file.source import FileSource
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Frame
from tests.plugins import PickyModel

DIE, FAIL, KILL = "die", "fail", "kill"


def meet(folder: str, stage: str) -> None:
    """Dies if there is such a file, which is then gone."""
    for way in (DIE, FAIL, KILL):
        try:
            (Path(folder) / f"{way}-{stage}").unlink()
        except FileNotFoundError:
            continue
        if way == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if way == FAIL:
            raise OSError("fate")
        raise SystemExit("fate")


class Model(PickyModel):
    """Meets its fate before it draws."""

    def __init__(self, fates: str, refuses: str = "", cost_ms: float = 0.0) -> None:
        super().__init__(refuses, cost_ms)
        self._fates = fates

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        meet(self._fates, "infer")
        return super().render(images, image_of, prompts)


class Source(FileSource):
    """Meets its fate before it reads; the folder is an option of the stream."""

    def __init__(self, spec: StreamSpec, view: View, position: Position) -> None:
        options = dict(spec.options)
        self._fates = options.pop("fates")
        super().__init__(StreamSpec(spec.stream_id, spec.url, None, spec.sampling, options), view, position)

    def read(self, max_frames: int) -> list[Frame]:
        meet(self._fates, "read")
        return super().read(max_frames)


class Sink(ParquetSink):
    """Meets its fate before it writes or after it has committed; the folder lies beside that of the results."""

    def __init__(self, url: str, run_id: str, **options: Any) -> None:
        del run_id
        super().__init__(url, **options)
        self._fates = str(Path(url).parent / "fates")

    def write(self, segment: Segment, rows: Rows) -> None:
        meet(self._fates, "write")
        super().write(segment, rows)

    def commit(self, segment: Segment) -> None:
        super().commit(segment)
        meet(self._fates, "commit")
