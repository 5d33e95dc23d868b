"""The lock of an output folder, on a disk that takes nothing more."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from deploy.folder_lock import locked
from operators.errors import UsageError


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
