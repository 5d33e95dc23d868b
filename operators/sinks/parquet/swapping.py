"""Parts that take the place of others: on a local disk at one instant, on an object store as soon as can be.

ROOT/.plantain/tidy/lock            held while something is replaced
ROOT/.plantain/tidy/NAME.new/...    files that are about to be put in place
ROOT/.plantain/tidy/NAME.json       where they belong, and what goes; whoever finds it ends what was begun
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import pyarrow.parquet as pq
from pyarrow import fs

from plantain.operators.sinks.parquet.exchange import Exchange
from plantain.operators.sinks.parquet.parts import Part
from plantain.operators.sinks.rows import SCHEMAS
from plantain.operators.sinks.store import sync, sync_folder, write_durably

FOLDER = ".plantain/tidy"

Write = Callable[[str, Path], int]
"""Writes a table into a file; gives its rows, 0 if nothing was written."""


class Tables(Protocol):
    """The parts of an output folder. All methods raise OSError."""

    def read(self, part: Part, table: str) -> pq.ParquetFile:
        """A part's file of a table."""
        ...

    def swap(self, gone: Sequence[Part], made: Part | None, write: Write) -> int:
        """Takes parts away, and puts one in their place.

        Args:
            gone: What goes.
            made: What comes: its name, and since when; None for nothing. It may have the name of one that goes.
            write: Writes its tables.

        Returns:
            Bytes of what came.
        """
        ...

    def recover(self) -> None:
        """Ends what a process had begun that was killed."""
        ...


@contextlib.contextmanager
def tidying(root: Path) -> Iterator[None]:
    """Holds the right to replace parts that are there; waits for whoever has it."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def unread(root: Path) -> Iterator[None]:
    """Holds off whoever reads under a lock on the folder (`flock -s ROOT ...`), which cannot be run again.

    Raises:
        BlockingIOError: If somebody reads so.
    """
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # some network file systems have no locks
            pass
        yield
    finally:
        os.close(descriptor)


class LocalTables:
    """On a local disk, all tables at the same instant (`exchange.py`).

    Args:
        root: The output folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._work = root / FOLDER

    def read(self, part: Part, table: str) -> pq.ParquetFile:
        """See `Tables`."""
        return pq.ParquetFile(self._root / part.path(table))

    def swap(self, gone: Sequence[Part], made: Part | None, write: Write) -> int:
        """See `Tables`; a reader that has opened what goes reads on, and one that has only listed it finds it gone."""
        with unread(self._root):
            pass  # before anything is made for nothing
        work = self._work / f"swap-{os.getpid()}"
        new = work.with_name(f"{work.name}.new")
        new.mkdir(parents=True)
        try:
            places = {
                f"{table}.{number}": part.path(table)
                for number, part in enumerate(gone)
                for table in part.sizes
                if made is None or part.path(table) != made.path(table)
            }
            size = 0
            for table in () if made is None else SCHEMAS:
                assert made is not None
                file = new / table
                if write(table, file):
                    size += file.stat().st_size
                    os.utime(file, ns=(made.written_ns, made.written_ns))
                    with file.open("rb") as written:
                        sync(written.fileno())
                else:
                    file.unlink(missing_ok=True)
                if file.exists() or any(part.path(table) == made.path(table) for part in gone):
                    places[table] = made.path(table)
            write_durably(work.with_name(f"{work.name}.json"), json.dumps(places).encode())
            with unread(self._root):
                self._exchange(work, places).run()
        except BaseException:
            if not work.with_name(f"{work.name}.now").is_symlink():
                shutil.rmtree(new, ignore_errors=True)
                work.with_name(f"{work.name}.json").unlink(missing_ok=True)
            raise
        work.with_name(f"{work.name}.json").unlink()
        return size

    def recover(self) -> None:
        """See `Tables`."""
        for told in sorted(self._work.glob("*.json")):
            work = told.with_suffix("")
            if work.with_name(f"{work.name}.now").is_symlink():
                self._exchange(work, json.loads(told.read_bytes())).recover()
            told.unlink()
        for left in self._work.glob("*.*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()

    def _exchange(self, work: Path, places: dict[str, str]) -> Exchange:
        for path in places.values():
            folder = (self._root / path).parent
            if not folder.exists():
                folder.mkdir(parents=True)
                sync_folder(folder.parent)
        return Exchange({name: self._root / path for name, path in places.items()}, work)


class RemoteTables:
    """On an object store, or a disk without links: what goes is deleted, then what comes is there.

    A reader may for a moment find fewer rows, never one twice. What comes is uploaded aside before.

    Args:
        filesystem: The store.
        root: The output folder.
    """

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        self._filesystem = filesystem
        self._root = PurePosixPath(root)

    def read(self, part: Part, table: str) -> pq.ParquetFile:
        """See `Tables`."""
        return pq.ParquetFile(self._filesystem.open_input_file(str(self._root / part.path(table))))

    def swap(self, gone: Sequence[Part], made: Part | None, write: Write) -> int:
        """See `Tables`."""
        size = 0
        moves: dict[str, str] = {}
        with tempfile.TemporaryDirectory() as folder:
            for table in () if made is None else reversed(SCHEMAS):  # frames last
                assert made is not None
                file = Path(folder) / table
                if write(table, file):
                    aside = f"{FOLDER}/{made.stream_id}-{made.stem}-{table}"
                    self._upload(file, aside)
                    size += file.stat().st_size
                    moves[aside] = made.path(table)
        told: dict[str, Any] = {
            "gone": [part.path(table) for part in gone for table in part.sizes],
            "moves": moves,
        }
        name = f"{FOLDER}/{os.getpid()}.json"
        self._make_folder(self._root / FOLDER)
        with self._filesystem.open_output_stream(str(self._root / name)) as stream:
            stream.write(json.dumps(told).encode())
        self._end(name, told)
        return size

    def recover(self) -> None:
        """See `Tables`."""
        selector = fs.FileSelector(str(self._root / FOLDER), allow_not_found=True)
        for info in self._filesystem.get_file_info(selector):
            if info.path.endswith(".json"):
                with self._filesystem.open_input_stream(info.path) as stream:
                    told = json.loads(stream.read())
                self._end(f"{FOLDER}/{PurePosixPath(info.path).name}", told)
        for info in self._filesystem.get_file_info(selector):
            if info.type is fs.FileType.File:
                self._filesystem.delete_file(info.path)

    def _end(self, name: str, told: dict[str, Any]) -> None:
        gone, moves = told["gone"], told["moves"]
        is_left = {aside: self._exists(aside) for aside in moves}
        for path in gone:
            if (path not in moves.values() or any(is_left.values())) and self._exists(path):
                self._filesystem.delete_file(str(self._root / path))
        for aside, path in moves.items():
            if is_left[aside]:
                self._make_folder((self._root / path).parent)
                self._filesystem.copy_file(str(self._root / aside), str(self._root / path))
                self._filesystem.delete_file(str(self._root / aside))
        self._filesystem.delete_file(str(self._root / name))

    def _exists(self, path: str) -> bool:
        found = self._filesystem.get_file_info(str(self._root / path))
        return bool(found.type is not fs.FileType.NotFound)

    def _upload(self, file: Path, name: str) -> None:
        self._make_folder(self._root / FOLDER)
        with file.open("rb") as source, self._filesystem.open_output_stream(str(self._root / name)) as stream:
            shutil.copyfileobj(source, stream, 1 << 20)

    def _make_folder(self, folder: PurePosixPath) -> None:
        if isinstance(self._filesystem, fs.SubTreeFileSystem | fs.LocalFileSystem):  # others have no folders
            self._filesystem.create_dir(str(folder))
