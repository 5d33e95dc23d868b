"""Results kept in memory: for tests, notebooks and the Python interface."""

from __future__ import annotations

from itertools import chain

from plantain.operators.answers.base import Row
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.rows import Rows
from plantain.operators.types import Result


class MemorySink:
    """Rows of committed segments, readable as `rows`. Bounded only by what is written to it."""

    def __init__(self) -> None:
        self._staged: dict[Segment, list[Rows]] = {}
        self._committed: dict[Segment, list[Rows]] = {}

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """Forgets the stream's uncommitted results, and all of them if it starts anew."""
        for kept in (self._staged,) if is_resumed else (self._staged, self._committed):
            for segment in [segment for segment in kept if segment.stream_id == stream_id]:
                del kept[segment]

    def write(self, segment: Segment, rows: Rows) -> None:
        """Takes rows of one segment."""
        self._staged.setdefault(segment, []).append(rows)

    def commit(self, segment: Segment) -> None:
        """Shows the segment in `results` and `rows`."""
        self._committed[segment] = self._staged.pop(segment, [])

    def finish(self, stream_id: str) -> None:
        """Nothing is left to do."""

    def forget(self, stream_id: str) -> None:
        """Lets go of uncommitted results."""
        self.begin(stream_id, is_resumed=True)

    def close(self) -> None:
        """Committed results stay readable."""
        self._staged.clear()

    @property
    def results(self) -> list[Result]:
        """Committed results, by stream, then in frame order."""
        return [result for rows in self._in_order() for result in rows.results]

    def rows(self, table: str) -> list[Row]:
        """Committed rows of `frames`, with the dense maps, or `objects`."""
        return [row for rows in self._in_order() for row in rows.table(table, rasters=True)]

    def _in_order(self) -> list[Rows]:
        ordered = sorted(
            self._committed, key=lambda segment: (segment.stream_id, segment.epoch, segment.index)
        )
        return list(chain.from_iterable(self._committed[segment] for segment in ordered))
