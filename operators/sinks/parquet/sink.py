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
import shutil
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path, PurePosixPath
from typing import Any, ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from plantain.operators.answers.base import Row
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet.exchange import Exchange, Replacement, has_links, make_empty
from plantain.operators.sinks.parquet.swapping import LocalTables, tidying
from plantain.operators.sinks.rows import SCHEMAS, SHARED, SPARSE, Rows, folder_of, table_of
from plantain.operators.sinks.store import (
    open_filesystem,
    storage_error,
    sync,
    sync_folder,
    write_durably,
)

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
        self._folder: _LocalFolder | _RemoteFolder
        if isinstance(filesystem, fs.LocalFileSystem):
            self._folder = _LocalFolder(Path(root))
        else:
            self._folder = _RemoteFolder(filesystem, root)
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


def _is_at_work(left: Path) -> bool:
    """Whether the process that names a folder so still lives, as another writer of the same run does."""
    try:
        os.kill(int(left.name.split("-")[2].split(".")[0]), 0)
    except (ProcessLookupError, ValueError, IndexError):
        return False
    except PermissionError:
        return True
    return True


class _RemoteFolder:
    """Parts on an object store: buffered, then one PUT each."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self._filesystem = filesystem
        self._root = PurePosixPath(root)

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        if is_resumed:
            return
        for name in SCHEMAS:
            folder = str(self._root / folder_of(name, stream_id))
            found = self._filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))
            for info in found:
                self._filesystem.delete_file(info.path)

    def stage(self, segment: Segment, name: str) -> io.BytesIO:
        del segment, name
        return io.BytesIO()

    def commit(self, segment: Segment, targets: dict[str, Any]) -> None:
        for name in reversed(SCHEMAS):  # frames last
            folder = self._root / folder_of(name, segment.stream_id)
            place = str(folder / f"{segment.name}.parquet")
            if name not in targets:  # an earlier run may have stated what this one does not
                if self._filesystem.get_file_info(place).type is not fs.FileType.NotFound:
                    self._filesystem.delete_file(place)
                continue
            if isinstance(self._filesystem, fs.SubTreeFileSystem):
                self._filesystem.create_dir(str(folder))
            with self._filesystem.open_output_stream(place) as stream:
                stream.write(targets[name].getbuffer())

    def share(self, name: str, tables: dict[str, pa.Table]) -> None:
        for table in sorted(tables, reverse=True):  # objects, then frames, as everywhere
            folder = self._root / folder_of(table, SHARED)
            if isinstance(self._filesystem, fs.SubTreeFileSystem):
                self._filesystem.create_dir(str(folder))
            with self._filesystem.open_output_stream(str(folder / name)) as stream:
                pq.write_table(tables[table], stream, compression="zstd")


class _LocalFolder:
    """Parts on a local file system, exchanged all at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._work = root / ".plantain" / "segments"
        self._empty = root / ".plantain" / "empty"
        self._shared = root / ".plantain" / "shared"
        self._sharing: dict[Path, set[str]] = {}
        self._recover_shared()

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """Ends or undoes commits that a killed run left, clears the workshop, and takes earlier parts away."""
        work = self._work / stream_id
        has_links(self._root)  # what it has not is said here, and what cannot be written to
        for now in sorted(work.glob("*.now")):
            self._exchange(stream_id, now.stem).recover()
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)  # what cannot be written to is said here
        if is_resumed:
            return
        with tidying(self._root):
            LocalTables(self._root).recover()
            folders = [self._root / folder_of(name, stream_id) for name in SCHEMAS]
            for part in sorted({path.stem for folder in folders for path in folder.glob("*.parquet")}):
                self._exchange(stream_id, part).remove()
            self._unshare(stream_id)

    def stage(self, segment: Segment, name: str) -> Path:
        return self._work / segment.stream_id / f"{segment.name}.new" / name

    def commit(self, segment: Segment, targets: dict[str, Any]) -> None:
        for target in targets.values():
            descriptor = os.open(target, os.O_RDONLY)
            try:
                sync(descriptor)
            finally:
                os.close(descriptor)
        self._exchange(segment.stream_id, segment.name).run()

    def _unshare(self, stream_id: str) -> None:
        """Takes the rows of a stream out of the parts that it shares."""
        for part, names in self._shared_parts().items():
            if stream_id not in names:
                continue
            names.discard(stream_id)
            if not names:
                part.unlink()
                continue
            held = pq.read_table(part, partitioning=None)
            buffer = io.BytesIO()
            pq.write_table(
                held.filter(pc.not_equal(held["stream_id"], stream_id)), buffer, compression="zstd"
            )
            write_durably(part, buffer.getvalue())

    def _shared_parts(self) -> dict[Path, set[str]]:
        """Whose rows are in which part; each is looked into once, however many streams begin anew."""
        for table in SCHEMAS:
            for part in (self._root / folder_of(table, SHARED)).glob("*.parquet"):
                if part not in self._sharing:
                    held = pq.read_table(part, columns=["stream_id"], partitioning=None)
                    self._sharing[part] = set(held["stream_id"].unique().to_pylist())
        return {part: names for part, names in self._sharing.items() if part.exists()}

    def share(self, name: str, tables: dict[str, pa.Table]) -> None:
        """Adds a part that several cameras share: one fsync for each table, whatever their number.

        The files are made durable aside, and the rename of their folder says that they are whole; then each is moved to
        its place, frames last. What a crash leaves in between is moved by whoever opens the folder next.
        """
        aside = self._shared / f"{name}.new"
        aside.mkdir(parents=True, exist_ok=True)
        for table, rows in tables.items():
            with (aside / table).open("wb") as file:
                pq.write_table(rows, file, compression="zstd")
                file.flush()
                sync(file.fileno())
        whole = aside.with_suffix(".whole")
        aside.rename(whole)
        self._place(whole)

    def _place(self, whole: Path) -> None:
        """Moves the files of a shared part to where readers look."""
        for table in sorted(SCHEMAS, key=lambda table: table == "frames"):
            if (file := whole / table).exists():
                folder = self._root / folder_of(table, SHARED)
                folder.mkdir(parents=True, exist_ok=True)
                file.rename(folder / whole.stem)
        whole.rmdir()

    def _recover_shared(self) -> None:
        """Ends the sharing that a killed process had begun, where its files were whole."""
        for left in sorted(self._shared.glob("*.*")):
            if _is_at_work(left):
                continue
            if left.suffix == ".whole":
                self._place(left)
            else:
                shutil.rmtree(left, ignore_errors=True)

    def _exchange(self, stream_id: str, part: str) -> Exchange | Replacement:
        """Of a part in all tables; in a sparse one only where it is, or is about to be."""
        places = {name: self._root / folder_of(name, stream_id) / f"{part}.parquet" for name in SCHEMAS}
        new = self._work / stream_id / f"{part}.new"
        for name in SPARSE:
            if not (places[name].exists() or places[name].is_symlink() or (new / name).exists()):
                del places[name]
        for place in places.values():
            if not place.parent.exists():
                place.parent.mkdir(parents=True)
                sync_folder(place.parent.parent)
                sync_folder(self._root)
        if not has_links(self._root):
            return Replacement(places, self._work / stream_id / part)
        empty = {name: make_empty(self._empty, name) for name in places}
        return Exchange(places, self._work / stream_id / part, empty)
