"""Replaces several files at the same instant, although no file system renames two at once."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import structlog

from plantain.operators.sinks.rows import table_of
from plantain.operators.sinks.store import sync_folder

# What making a link says on file systems that have none.
_LINKLESS = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL})

log = structlog.get_logger()


class Exchange:
    """See the module.

    Each place first becomes a symbolic link that leads, through one common link `now`, to what was there before
    (or to an empty table, or nowhere, which readers that list pass over). Then `now` is pointed at the new files, in a
    single rename: that is the commit. Last, each link gives way to the file it leads to. A reader sees all of the old
    or all of the new at every moment, and a crash at any moment leaves one of the two, which `recover` then tidies up.

    Args:
        places: Where each file belongs, by a name of its own.
        work: Prefix of the workshop; the new files are in `work.new`, under their names. What has none there is taken
            away.
        empty: By name, the table without rows that stands in for a file that is not there. Where rows go from one name
            to another there is none: who had listed the old name is to be told, and not to find fewer rows.
    """

    def __init__(
        self, places: Mapping[str, Path], work: Path, empty: Mapping[str, Path] | None = None
    ) -> None:
        self._places = places
        self._new = work.with_name(f"{work.name}.new")
        self._old = work.with_name(f"{work.name}.old")
        self._now = work.with_name(f"{work.name}.now")
        self._empty = empty or {}

    def run(self) -> None:
        """Puts the new files in their places; a table that has none is left without."""
        for name, empty in self._empty.items():
            if not (self._new / name).exists():
                os.link(empty, self._new / name)
        sync_folder(self._new)
        self._old.mkdir(exist_ok=True)
        for name, place in self._places.items():
            kept = self._old / name
            kept.unlink(missing_ok=True)
            if (before := place if place.exists() else self._empty.get(name)) is not None:
                os.link(before, kept)
        sync_folder(self._old)
        self._point_now(self._old)
        for name, place in self._places.items():
            link = self._aside(name)
            link.symlink_to(os.path.relpath(self._now / name, place.parent))
            move(link, place)
        self._sync_places()
        self._point_now(self._new)
        self._settle(self._new)

    def remove(self) -> None:
        """Takes what is in the places away."""
        self._new.mkdir(exist_ok=True)
        self.run()

    def recover(self) -> None:
        """Ends or undoes what a killed process had begun."""
        self._settle(self._now.resolve())

    def _aside(self, name: str) -> Path:
        """A free name in the workshop, where no reader looks."""
        aside = self._now.with_suffix(f".{name}")
        aside.unlink(missing_ok=True)
        return aside

    def _point_now(self, target: Path) -> None:
        aside = self._aside("next")
        aside.symlink_to(target.name)
        aside.replace(self._now)
        sync_folder(self._now.parent)

    def _sync_places(self) -> None:
        for folder in {place.parent for place in self._places.values()}:
            sync_folder(folder)

    def _settle(self, folder: Path) -> None:
        """Puts the files of `folder` in the places of the links, and removes the workshop."""
        for name, place in self._places.items():
            if not place.is_symlink():
                continue
            file, empty = folder / name, self._empty.get(name)
            if not file.exists() or (empty is not None and file.samefile(empty)):
                place.unlink()
                continue
            aside = self._aside(name)
            os.link(file, aside)
            aside.replace(place)
        self._sync_places()
        self._now.unlink()
        shutil.rmtree(self._new, ignore_errors=True)
        shutil.rmtree(self._old, ignore_errors=True)


class Replacement:
    """Does the same on file systems without links: file by file, in an order in which no row is there before its own.

    A segment that is torn by a crash is made again by whoever goes on.

    Args:
        places: Where each table's file belongs.
        work: Prefix of the workshop; the new files are in `work.new`.
    """

    def __init__(self, places: Mapping[str, Path], work: Path) -> None:
        self._places = places
        self._new = work.with_name(f"{work.name}.new")

    def run(self) -> None:
        """Puts the new files in their places, frames last; a table that has none is left without."""
        for name in sorted(self._places, key=lambda name: name == "frames"):
            if (self._new / name).exists():
                move(self._new / name, self._places[name])
            else:
                self._places[name].unlink(missing_ok=True)
        for folder in {place.parent for place in self._places.values()}:
            sync_folder(folder)
        shutil.rmtree(self._new, ignore_errors=True)

    def remove(self) -> None:
        """Takes what is in the places away, frames first."""
        for name in sorted(self._places, key=lambda name: name != "frames"):
            self._places[name].unlink(missing_ok=True)

    def recover(self) -> None:
        """Nothing is left half done but what is made again."""


def move(file: Path, place: Path) -> None:
    """Renames a file; into a folder that is made again where tidying has just removed it, since it was empty."""
    try:
        file.replace(place)
    except FileNotFoundError:
        place.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(place.parent.parent)
        file.replace(place)


@cache
def has_links(folder: Path) -> bool:
    """Whether a folder, which is there, can have hard and symbolic links; where not, that is said once."""
    file = folder / ".plantain" / f"probe-{os.getpid()}"
    link = file.with_suffix(".link")
    file.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    file.touch()
    try:
        for make in (os.link, os.symlink):
            make(file, link)
            link.unlink()
    except OSError as error:
        if error.errno not in _LINKLESS:
            raise
        what = "the file system has none: tables of a segment appear one after the other, frames last"
        log.warning("no links", what=what, folder=str(folder), error=error.strerror)
        return False
    finally:
        file.unlink()
    return True


def make_empty(folder: Path, table: str) -> Path:
    """The table without rows that stands in for a part that is not there."""
    path = folder / table
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}")
        pq.write_table(table_of(table, []), str(aside), compression="zstd")
        aside.replace(path)
    return path
