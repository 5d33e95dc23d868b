"""Parquet: a folder of flat tables that any reader opens, every segment visible as a whole or not at all.

    ROOT/frames/stream=NAME/part-EPOCH-SEGMENT.parquet
    ROOT/objects/stream=NAME/part-EPOCH-SEGMENT.parquet
    ROOT/events/stream=NAME/part-EPOCH-SEGMENT.parquet     where something happened
    ROOT/TABLE/stream=_shared/...                          of cameras that were committed together
    ROOT/.plantain/...                                     where segments are made; no reader looks there

Part names follow from the frames in them, so a segment that is made again replaces itself. The parts of all
tables of a segment appear in one step, although no file system renames two files at once (`exchange.py`). On an
object store each part is one PUT, frames last: a frame row is never there without its objects and events.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import pyarrow.parquet as pq
from pyarrow import fs

from plantain.operators.answers.base import Row
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet.local import LocalFolder
from plantain.operators.sinks.parquet.remote import RemoteFolder
from plantain.operators.sinks.rows import SCHEMAS, SPARSE, Rows, table_of
from plantain.operators.sinks.store import open_filesystem, storage_error

# A row group is written out when it has grown to this, so that memory does not depend on the segment's length.
ROW_GROUP_BYTES = 8 << 20
# What a row takes beside its texts and dense map while it waits.
ROW_BYTES = 2048

P = ParamSpec("P")
T = TypeVar("T")


def _storing(method: Callable[P, T]) -> Callable[P, T]:
    """Errors of the storage as SinkError, with what a user can do."""

    @wraps(method)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except OSError as error:
            raise storage_error(args[0].url, error) from error  # type: ignore[attr-defined]  # args[0] is self

    return wrapped


class ParquetSink:
    """Writes segments of rows.

    Args:
        url: The output folder, local or `s3://`, `gs://`, `abfs://`.
        metadata: Strings for the Parquet key-value metadata (model, palette, label map).
        rasters: Whether to store the dense maps.
        shares: Whether cameras that are committed together share parts; not where something names the parts.
    """

    def __init__(
        self, url: str, metadata: dict[str, str] | None = None, *, rasters: bool = True, shares: bool = True
    ) -> None:
        self.url = url
        self._shares = shares
        self._metadata = metadata or {}
        self._rasters = rasters
        filesystem, root = open_filesystem(url)
        self._folder: LocalFolder | RemoteFolder
        if isinstance(filesystem, fs.LocalFileSystem):
            self._folder = LocalFolder(Path(root))
        else:
            self._folder = RemoteFolder(filesystem, root)
        self._open: dict[Segment, dict[str, _Part]] = {}
        self._sharing = ""

    @_storing
    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """Forgets uncommitted rows; if the stream starts anew, its earlier parts go too."""
        self.forget(stream_id)
        self._folder.begin(stream_id, is_resumed=is_resumed)

    @_storing
    def write(self, segment: Segment, rows: Rows) -> None:
        """Adds rows to the segment's parts, which nobody sees yet."""
        parts = self._open.get(segment)
        if parts is None:
            parts = self._open[segment] = {}
            for name in SCHEMAS.keys() - SPARSE:
                parts[name] = self._part(segment, name)
        for name in SCHEMAS:
            made = rows.table(name, rasters=self._rasters)
            if made and name not in parts:
                parts[name] = self._part(segment, name)
            if made:
                parts[name].add(made)

    @_storing
    def commit(self, segment: Segment) -> None:
        """Makes the segment durable, and visible in all tables at once."""
        parts = self._open[segment]
        for part in parts.values():
            part.close()
        self._folder.commit(segment, {name: part.target for name, part in parts.items()})
        del self._open[segment]

    @_storing
    def commit_together(self, segments: Sequence[Segment]) -> None:
        """Makes segments durable: those of cameras that are small in one part for all, the others each by itself.

        A camera's segment is never made again, so nothing ever replaces its rows alone.
        """
        small = [segment for segment in segments if self._is_small(segment)]
        for segment in segments:
            if segment not in small and segment in self._open:
                self.commit(segment)
        if not small:
            return
        rows: dict[str, list[Row]] = {name: [] for name in SCHEMAS}
        for segment in sorted(small, key=lambda segment: segment.stream_id):
            for name, part in self._open[segment].items():
                rows[name] += part.waiting
        self._sharing = self._sharing or shared_name()  # the same when it is tried again
        self._folder.share(
            self._sharing,
            {name: table_of(name, rows[name], self._metadata) for name in SCHEMAS if rows[name]},
        )
        self._sharing = ""
        for segment in small:
            self._let_go(segment)

    def _is_small(self, segment: Segment) -> bool:
        """Whether all rows of a camera's segment still wait to be written."""
        parts = self._open.get(segment)
        return (
            self._shares and segment.is_live and parts is not None and all(p.is_small for p in parts.values())
        )

    def finish(self, stream_id: str) -> None:
        """Every segment is in its place already."""
        self._folder.finish(stream_id)

    def forget(self, stream_id: str) -> None:
        """Lets go of uncommitted rows."""
        for segment in [segment for segment in self._open if segment.stream_id == stream_id]:
            self._let_go(segment)

    def close(self) -> None:
        """Lets go of uncommitted segments."""
        for segment in list(self._open):
            self._let_go(segment)

    def _part(self, segment: Segment, name: str) -> _Part:
        return _Part(name, self._folder.stage(segment, name), self._metadata)

    def _let_go(self, segment: Segment) -> None:
        for part in self._open.pop(segment).values():
            part.discard()


class _Part:
    """One table's share of a segment, written row group by row group.

    Args:
        name: The table.
        target: A path to write to, or a buffer.
        metadata: For the Parquet footer.

    Attributes:
        waiting: Rows that are not written yet.
    """

    def __init__(self, name: str, target: Path | io.BytesIO, metadata: dict[str, str]) -> None:
        self.target = target
        self.waiting: list[Row] = []
        self._name = name
        self._metadata = metadata
        self._writer: pq.ParquetWriter | None = None  # until there is something to write
        self._bytes = 0

    @property
    def is_small(self) -> bool:
        """Whether nothing had to be written yet."""
        return self._writer is None

    def add(self, rows: Sequence[Row]) -> None:
        """Keeps rows for the next group: cameras bring a row at a time, and a table costs as much for one as for 50."""
        self.waiting.extend(rows)
        self._bytes += sum(
            ROW_BYTES + sum(len(value) for value in row.values() if isinstance(value, bytes | str))
            for row in rows
        )
        if self._bytes >= ROW_GROUP_BYTES:
            self._write_group()

    def close(self) -> None:
        if self.waiting or self._writer is None:
            self._write_group()
        assert self._writer is not None
        self._writer.close()

    def discard(self) -> None:
        """Closes the file, which nobody will read; on a full disk even that is refused."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer.is_open = False  # or it would try again when it is collected

    def _write_group(self) -> None:
        table = table_of(self._name, self.waiting, self._metadata)
        if self._writer is None:
            if isinstance(self.target, Path):
                self.target.parent.mkdir(exist_ok=True)
            sink = str(self.target) if isinstance(self.target, Path) else self.target
            self._writer = pq.ParquetWriter(sink, table.schema, compression="zstd")
        self._writer.write_table(table)
        self.waiting = []
        self._bytes = 0


def shared_name() -> str:
    """A new name for a part that several cameras share; later ones sort behind."""
    return f"part-{time.time_ns():020d}-{os.getpid()}.parquet"
