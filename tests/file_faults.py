"""A file system under which a process is killed, or a disk is full, at any change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Every call with which the sink changes what is on the disk, or makes it durable.
CHANGES = ("fsync", "link", "symlink", "replace", "rename", "unlink", "mkdir", "rmdir")


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it, and nothing works afterwards."""


class Faults:
    """Lets `num_good` changes of the file system pass, then raises instead of making any more.

    With an OSError as `error` only the next change is refused, as by a full disk; `Killed` refuses all that follow.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | OSError, num_good: int
    ) -> None:
        self.num_changes = 0
        self.hit = False
        self._error = error
        self._num_good = num_good
        for name in CHANGES:
            monkeypatch.setattr(os, name, self._guarded(getattr(os, name)))

    def _guarded(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if self.num_changes == self._num_good and not (self.hit and isinstance(self._error, OSError)):
                self.hit = True
                raise self._error
            self.num_changes += 1
            return change(*args, **kwargs)

        return guarded


class Watched:
    """Calls somebody before and after every change of the file system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, look: Callable[[], None]) -> None:
        self._look = look
        for name in CHANGES:
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self._look()
            try:
                return change(*args, **kwargs)
            finally:
                self._look()

        return watched


def copy_tree(source: Path, target: Path) -> None:
    """A copy with its links: symbolic ones as they are, hard ones as hard ones."""
    inodes: dict[int, Path] = {}
    target.mkdir()
    for folder, _, _ in os.walk(source):
        for path in sorted(Path(folder).iterdir()):
            copy = target / path.relative_to(source)
            if path.is_symlink():
                copy.symlink_to(path.readlink())
            elif path.is_dir():
                copy.mkdir()
            elif (number := path.stat().st_ino) in inodes:
                os.link(inodes[number], copy)
            else:
                copy.write_bytes(path.read_bytes())
                inodes[number] = copy
