"""The lock of an output folder: one job at a time."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from plantain.deploy.folder_lock import locked
from plantain.operators.errors import UsageError


def test_a_full_disk_keeps_nobody_from_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", refuse)
    with (
        locked(str(tmp_path)),
        pytest.raises(UsageError, match=r"another job \(process unknown\) writes to"),
        locked(str(tmp_path)),
    ):
        pass
    with locked(str(tmp_path)):
        pass


def test_two_jobs_in_one_folder_are_kept_apart(tmp_path):
    held = str(tmp_path)
    with (
        locked(held),
        pytest.raises(UsageError, match=r"another job \(process \d+\) writes to"),
        locked(held),
    ):
        pass
    with locked(str(tmp_path)):
        pass
    with locked("s3://bucket/results"):
        pass
