"""Results kept in memory: for tests, notebooks and the Python interface."""

from __future__ import annotations

from collections.abc import Sequence

from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.rows import Row, rows_of
from plantain.operators.types import Result


class MemorySink:
    """Rows of committed segments, readable as `rows`. Bounded only by what is written to it.

    Args:
        run_id: Written into each row.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._staged: dict[Segment, list[Result]] = {}
        self._committed: dict[Segment, list[Result]] = {}

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """Forgets the stream's uncommitted results, and all of them if it starts anew."""
        for kept in (self._staged,) if is_resumed else (self._staged, self._committed):
            for segment in [segment for segment in kept if segment.stream_id == stream_id]:
                del kept[segment]

    def write(self, segment: Segment, results: Sequence[Result]) -> None:
        """Takes results of one segment."""
        self._staged.setdefault(segment, []).extend(results)

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
        ordered = sorted(
            self._committed, key=lambda segment: (segment.stream_id, segment.epoch, segment.index)
        )
        return [result for segment in ordered for result in self._committed[segment]]

    def rows(self, table: str) -> list[Row]:
        """Committed rows of a table."""
        return rows_of(self.results, self._run_id)[table]
