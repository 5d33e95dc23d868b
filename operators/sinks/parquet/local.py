"""Parts on a local file system, exchanged all at once."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet.exchange import Exchange, Replacement, has_links, make_empty
from plantain.operators.sinks.parquet.swapping import LocalTables, tidying
from plantain.operators.sinks.rows import SCHEMAS, SHARED, SPARSE, folder_of
from plantain.operators.sinks.store import sync, sync_folder, write_durably


class LocalFolder:
    """See the module.

    Args:
        root: The output folder.
    """

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
        """Where a part of a segment is made."""
        return self._work / segment.stream_id / f"{segment.name}.new" / name

    def commit(self, segment: Segment, targets: dict[str, Any]) -> None:
        """Makes the parts of a segment visible, all at once."""
        for target in targets.values():
            descriptor = os.open(target, os.O_RDONLY)
            try:
                sync(descriptor)
            finally:
                os.close(descriptor)
        self._exchange(segment.stream_id, segment.name).run()

    def finish(self, stream_id: str) -> None:
        """Gives back the workshop of a stream that has ended."""
        with contextlib.suppress(OSError):  # what was not committed is cleared when it begins again
            (self._work / stream_id).rmdir()

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


def _is_at_work(left: Path) -> bool:
    """Whether the process that names a folder so still lives, as another writer of the same run does."""
    try:
        os.kill(int(left.name.split("-")[2].split(".")[0]), 0)
    except (ProcessLookupError, ValueError, IndexError):
        return False
    except PermissionError:
        return True
    return True
