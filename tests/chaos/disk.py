"""A small disk of its own, which can be filled to the last byte."""

from __future__ import annotations

import contextlib
import errno
import subprocess
from pathlib import Path

SIZE = "24m"


class Disk:
    """A tmpfs; a plain folder where none can be mounted, which nobody fills.

    Args:
        folder: Where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "plantain-chaos", str(folder)]
        try:
            done = subprocess.run(mount, capture_output=True, text=True, check=False)
            self.why_not = done.stderr.strip() or "mount failed" if done.returncode else ""
        except OSError as error:
            self.why_not = str(error)

    def fill(self) -> None:
        """Takes all space that is left."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        filler.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Gives it back."""
        (self.folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmounts it."""
        if not self.why_not:
            with contextlib.suppress(OSError):
                subprocess.run(["umount", "--lazy", str(self.folder)], check=False, capture_output=True)
