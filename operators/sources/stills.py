"""The still pictures of a folder and of those below it, in the order in which people count."""

from __future__ import annotations

import os
import re
from pathlib import Path

from plantain.operators.sources.suffixes import IMAGE_SUFFIXES

MADE_BY_US = ".plantain"
"""A folder that holds one of this name is an output folder: its videos and pictures are no input."""

OVERLAY, OF_STREAM = "overlay", "stream="
"""How folders are called that we make in an output folder, and in those of its tables."""

_DIGITS = re.compile(r"(\d+)")


def stills_in(folder: Path) -> list[Path]:
    """All files that are called pictures, also those that are none, such as the sidecars `._x.jpg` of some systems.

    Raises:
        OSError: If a folder cannot be read.
    """
    return [file for file in files_in(folder) if file.suffix.lower() in IMAGE_SUFFIXES]


def files_in(folder: Path) -> list[Path]:
    """All files below a folder, in natural order; without what is hidden, but for sidecars, and without our own output.

    Links to folders are followed, behind all that is there itself: each folder is looked at once, also where links go
    round in circles.

    Raises:
        OSError: If a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        links: list[Path] = []
        for place, folders, names in os.walk(waiting.pop(0), onerror=refuse):
            here = Path(place)
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = [name for name in folders if not (name.startswith(".") or is_ours(here / name))]
            links += [here / name for name in folders if (here / name).is_symlink()]
            found += [here / name for name in names if not name.startswith(".") or name.startswith("._")]
        waiting += sorted(links)
    return sorted(found, key=lambda file: natural(file.relative_to(folder)))


def is_ours(folder: Path) -> bool:
    """Whether a folder is an output folder, or of those that we make in one; what else is in it was there before."""
    if folder.name == OVERLAY:
        return _is_output(folder.parent) or _is_output(folder)
    if folder.name.startswith(OF_STREAM):
        return _is_output(folder.parent.parent) or _is_output(folder)
    return _is_output(folder)


def _is_output(folder: Path) -> bool:
    return (folder / MADE_BY_US).is_dir()


def natural(path: Path) -> tuple[list[tuple[str, int]], str]:
    """Sorts paths as people count: 1, 2, 10."""
    parts = _DIGITS.split(str(path.with_suffix("")).casefold())
    words, numbers = parts[::2], [int(digits) for digits in parts[1::2]]
    return [*zip(words, [*numbers, -1], strict=True)], str(path)
