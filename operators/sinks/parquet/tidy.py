"""What an output folder is freed of: small parts of days that are over become few, and what is too old goes.

Of today nothing is touched, and of files nothing that a resumed run makes again.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import groupby
from pathlib import Path
from stat import S_ISREG

import pyarrow as pa
import structlog
from pyarrow import fs

from plantain.operators.errors import SinkError
from plantain.operators.redaction import sentence_of, shown
from plantain.operators.sinks.parquet.exchange import has_links
from plantain.operators.sinks.parquet.merging import has_rasters, is_of_files, merge
from plantain.operators.sinks.parquet.parts import Part, day_of, parts_in, stem_of
from plantain.operators.sinks.parquet.swapping import LocalTables, RemoteTables, Tables, tidying
from plantain.operators.sinks.rows import SCHEMAS, SHARED
from plantain.operators.sinks.store import open_filesystem, storage_error

# Parts are put together as long as their largest table is no larger than this.
MERGED_BYTES = 192 << 20
# Where pictures are: annotated videos and those of events.
PICTURES = ("overlay", ".plantain/overlay", "pictures")
# What a run has open ends like this, however long ago a stream that rests was written to.
WRITING = ".writing"

Begins = Callable[[str], tuple[int, int] | None]
"""Where a file's rows may be made anew, as epoch and number of the segment; None if nothing will be."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Keep:
    """What is kept how long; None for ever.

    Attributes:
        rows_s: Rows of all tables, seconds since they were written.
        rasters_s: Dense maps in rows that stay.
        pictures_s: Annotated videos and pictures of events.
        disk: Share of the disk that may be used, by whomever; beyond, the oldest days go. Of local disks.
    """

    rows_s: float | None = None
    rasters_s: float | None = None
    pictures_s: float | None = None
    disk: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to a day.

    Attributes:
        what: `merged`, or what was deleted: `rows`, `rasters`, `pictures`.
        day: In UTC, when it was written.
        parts: Parts that went, or files.
        size: Bytes that they had.
        size_after: Bytes of what is in their place.
    """

    what: str
    day: date
    parts: int
    size: int
    size_after: int = 0


class Tidy:
    """Tidies one output folder; one at a time, whoever asks.

    Args:
        url: The folder, local or on an object store.
        begins: Where rows of files may be made anew, by stream.
        clock_ns: Nanoseconds since 1970 UTC.
        used: Share of the disk under a folder that is used.

    Raises:
        SinkError: If the folder cannot be opened, or not be written to.
    """

    def __init__(
        self,
        url: str,
        begins: Begins,
        clock_ns: Callable[[], int] = time.time_ns,
        used: Callable[[Path], float] | None = None,
    ) -> None:
        self._url = url
        self._begins = begins
        self._clock_ns = clock_ns
        self._used = used or used_of
        self._of_files: dict[str, bool] = {}
        self._filesystem, self._root = open_filesystem(url)
        self._local = Path(self._root) if isinstance(self._filesystem, fs.LocalFileSystem) else None
        try:
            is_linked = self._local is not None and (not self._local.exists() or has_links(self._local))
        except OSError as error:
            raise storage_error(url, error) from error
        self._tables: Tables = (
            LocalTables(self._local)
            if self._local is not None and is_linked
            else RemoteTables(self._filesystem, self._root)
        )

    def compact(self) -> Iterator[Change]:
        """Puts the parts of days that are over together; says of each day and folder what was done.

        Raises:
            SinkError: If the storage does not do it.
        """
        yield from self._storing(self._compact())

    def expire(self, keep: Keep) -> Iterator[Change]:
        """Deletes what is kept no longer, the oldest first.

        Raises:
            SinkError: If the storage does not do it.
        """
        yield from self._storing(self._expire(keep))

    def _storing(self, changes: Iterator[Change]) -> Iterator[Change]:
        try:
            with self._held():
                self._tables.recover()
            for change in changes:
                said = "merged" if change.what == "merged" else "deleted"
                log.info(
                    said,
                    what=change.what,
                    day=str(change.day),
                    parts=change.parts,
                    bytes=change.size,
                    bytes_after=change.size_after,
                )
                yield change
        except BlockingIOError as error:
            raise SinkError(
                f"somebody who reads {shown(self._url)} holds a lock on it: nothing more is put together or deleted "
                "there until that is over"
            ) from error
        except OSError as error:
            raise storage_error(self._url, error) from error

    @property
    def _today(self) -> date:
        return day_of(self._clock_ns())

    def _held(self) -> AbstractContextManager[None]:
        return nullcontext() if self._local is None else tidying(self._local)

    def _parts(self) -> list[Part]:
        """Parts of days that are over, whole ones, the oldest first."""
        parts = parts_in(self._filesystem, self._root)
        return [part for part in parts if part.day < self._today and "frames" in part.sizes]

    # -- putting together ----------------------------------------------------------------------------------

    def _compact(self) -> Iterator[Change]:
        by_place = sorted(self._parts(), key=lambda part: (part.day, part.stream_id))
        for (day, _), found in groupby(by_place, lambda part: (part.day, part.stream_id)):
            for group in _groups(sorted(found, key=lambda part: (part.span or ((0, 0),), part.written_ns))):
                if len(group) == 1:
                    continue
                with self._held():
                    settled = [part for part in group if self._is_settled(part)]
                    if len(settled) < 2:
                        continue
                    made = replace(settled[-1], stem=stem_of(settled))
                    if (size := self._swapped(settled, made, rasters=True)) is not None:
                        yield Change("merged", day, len(settled), sum(part.size for part in settled), size)

    def _is_settled(self, part: Part) -> bool:
        """Whether it is still there, and no run will make it again."""
        if part.stream_id != SHARED:
            if part.span is None:
                return False
            begins = self._begins(part.stream_id)
            if (begins is None or part.span[1] >= begins) and self._is_of_files(part):
                return False
        return self._is_whole(part)

    def _is_of_files(self, part: Part) -> bool:
        """Whether the stream of a part can be read again; looked up once."""
        if part.stream_id not in self._of_files:
            if not self._is_whole(part):
                return True
            self._of_files[part.stream_id] = is_of_files(self._tables.read(part, "frames"))
        return self._of_files[part.stream_id]

    def _is_whole(self, part: Part) -> bool:
        """Whether a part is still there, and its files have what Parquet ends with."""
        try:
            for table in part.sizes:
                self._tables.read(part, table)
        except FileNotFoundError:
            return False
        except (OSError, pa.ArrowInvalid) as error:
            self._pass_over([part], error)
            return False
        return True

    def _pass_over(self, parts: Sequence[Part], error: Exception) -> None:
        """Damage stays as it is, and holds up nothing else; what the storage itself says is raised again."""
        if isinstance(error, OSError) and (error.errno is not None or self._local is None):
            raise error
        log.warning(
            "damaged",
            first=parts[0].path("frames"),
            parts=len(parts),
            what="cannot be read; left as it is",
            error=sentence_of(error),
        )

    def _swapped(self, gone: Sequence[Part], made: Part, *, rasters: bool) -> int | None:
        """Bytes of what came in the place of parts; None where one of them is damaged."""
        made = replace(made, written_ns=max(part.written_ns for part in gone))

        def write(table: str, file: Path) -> int:
            files = (self._tables.read(part, table) for part in gone if table in part.sizes)
            return merge(table, files, str(file), rasters=rasters)

        try:
            return self._tables.swap(gone, made, write)
        except (OSError, pa.ArrowInvalid) as error:
            self._pass_over(gone, error)
            return None

    # -- letting go ----------------------------------------------------------------------------------------

    def _expire(self, keep: Keep) -> Iterator[Change]:
        now_ns = self._clock_ns()
        for day, found in groupby(self._parts(), lambda part: part.day):
            parts = list(found)
            old = [part for part in parts if _is_over(part.written_ns, keep.rows_s, now_ns)]
            if old:
                yield self._delete(day, old)
            dense = [
                part
                for part in parts
                if part not in old and _is_over(part.written_ns, keep.rasters_s, now_ns)
            ]
            yield from self._strip(day, dense)
        yield from self._delete_pictures(partial(_is_over, keep_s=keep.pictures_s, now_ns=now_ns))
        if self._local is not None:
            if keep.disk is not None:
                yield from self._make_room(keep.disk, self._local)
            self._remove_empty_folders(self._local)

    def _delete(self, day: date, parts: list[Part]) -> Change:
        with self._held():
            self._tables.swap(parts, None, lambda _table, _file: 0)
        return Change("rows", day, len(parts), sum(part.size for part in parts))

    def _strip(self, day: date, parts: list[Part]) -> Iterator[Change]:
        """Takes the dense maps out of parts."""
        before = after = count = 0
        for part in parts:
            with self._held():
                if not self._is_whole(part) or not has_rasters(self._tables.read(part, "frames")):
                    continue
                if (size := self._swapped([part], part, rasters=False)) is not None:
                    before, after, count = before + part.size, after + size, count + 1
        if count:
            yield Change("rasters", day, count, before, after)

    def _remove_empty_folders(self, root: Path) -> None:
        """Those of streams that have had nothing in them since a day that is over; not the one that all share.

        A writer that is about to use one makes it again (`exchange.py: move`).
        """
        with self._held():
            for folder in [each for table in SCHEMAS for each in (root / table).glob("stream=*")]:
                is_old = day_of(folder.stat().st_mtime_ns) < self._today
                if is_old and folder.name != f"stream={SHARED}" and not any(folder.iterdir()):
                    with contextlib.suppress(OSError):  # a writer was faster
                        folder.rmdir()

    def _delete_pictures(self, is_over: Callable[[int], bool]) -> Iterator[Change]:
        for day, found in groupby(self._pictures(), lambda picture: picture[0]):
            old = [(path, size) for _, path, size, written_ns in found if is_over(written_ns)]
            for path, _ in old:
                path.unlink(missing_ok=True)
            if old:
                yield Change("pictures", day, len(old), sum(size for _, size in old))

    def _pictures(self) -> list[tuple[date, Path, int, int]]:
        """Day, path, bytes and time of each picture of days that are over, the oldest first."""
        if self._local is None:
            return []
        dated = []
        for path in [path for folder in PICTURES for path in (self._local / folder).rglob("*")]:
            if path.suffix == WRITING:
                continue
            with contextlib.suppress(FileNotFoundError):  # a run that is under way took it away meanwhile
                status = path.stat()
                if S_ISREG(status.st_mode):
                    written_ns = status.st_mtime_ns
                    dated.append((day_of(written_ns), path, status.st_size, written_ns))
        return sorted(each for each in dated if each[0] < self._today)

    def _make_room(self, share: float, root: Path) -> Iterator[Change]:
        """Deletes day by day until no more than a share of the disk is used."""
        while self._used(root) > share:
            parts, pictures = self._parts(), self._pictures()
            days = [*(part.day for part in parts[:1]), *(picture[0] for picture in pictures[:1])]
            if not days:
                log.warning(
                    "disk", what="more is used than output.keep.disk says, and nothing is left to delete"
                )
                return
            day = min(days)
            if old := [part for part in parts if part.day == day]:
                yield self._delete(day, old)
            last_ns = max((picture[3] for picture in pictures if picture[0] == day), default=0)
            yield from self._delete_pictures(partial(_is_no_later, last_ns=last_ns))


def used_of(root: Path) -> float:
    """Share of the disk under a folder that is used."""
    usage = shutil.disk_usage(root)
    return usage.used / (usage.used + usage.free)


def _is_over(written_ns: int, keep_s: float | None, now_ns: int) -> bool:
    return keep_s is not None and now_ns - written_ns > keep_s * 1e9


def _is_no_later(written_ns: int, last_ns: int) -> bool:
    return written_ns <= last_ns


def _groups(parts: list[Part]) -> Iterator[list[Part]]:
    """Neighbours that may become one part."""
    group: list[Part] = []
    sizes: dict[str, int] = {}
    for part in parts:
        more = {table: sizes.get(table, 0) + part.sizes.get(table, 0) for table in {*sizes, *part.sizes}}
        if group and max(more.values()) > MERGED_BYTES:
            yield group
            group, more = [], dict(part.sizes)
        group.append(part)
        sizes = more
    if group:
        yield group
