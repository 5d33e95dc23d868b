"""Addresses that are paths."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit


def local_path(url: str) -> Path:
    """The path that a path or a `file:` URL means."""
    if url.startswith("file:"):
        return Path(unquote(urlsplit(url).path))
    return Path(url)
