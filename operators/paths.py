"""Addresses that are paths."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

AWAY = frozenset((errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ETIMEDOUT))
"""What is said of a disk that is gone: no file there is damaged for that, and it may come back."""


def local_path(url: str) -> Path:
    """The path that a path or a `file:` URL means."""
    if url.startswith("file:"):
        return Path(unquote(urlsplit(url).path))
    return Path(url)


def in_one_spelling(url: str) -> str:
    """An address; of a local path, equal however it is spelled: from the root on, links to folders followed.

    A link to a file keeps its name, since another file may be put behind it.
    """
    if "://" in url and not url.startswith("file:"):
        return url
    try:
        path = local_path(url)
        if path.name in ("", ".."):
            return os.path.realpath(path)
        return str(Path(os.path.realpath(path.parent)) / path.name)
    except (OSError, ValueError):  # no path at all
        return url


def is_endless(path: Path) -> bool:
    """Whether opening or reading a path may last for ever: pipes, sockets and devices, by whatever name."""
    try:
        kind = path.stat().st_mode
    except OSError:  # whoever opens it says why
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))
