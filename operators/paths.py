"""Addresses that are paths."""

from __future__ import annotations

import errno
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


def is_endless(path: Path) -> bool:
    """Whether opening or reading a path may last for ever: pipes, sockets and devices, by whatever name."""
    try:
        kind = path.stat().st_mode
    except OSError:  # whoever opens it says why
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))
