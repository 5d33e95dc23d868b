"""Small films and stills that can be told apart."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.assets.clips import make, numbered


def film(path: Path, num_frames: int, first: int = 0, codec: str = "mpeg2video") -> Path:
    """A transport stream that is, byte for byte, the beginning of every longer one of the same `first`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return make(path, first + num_frames, codec=codec, b_frames=0, gop=5, size=(64, 48))


def still(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbered(number, 64, 36)).save(path)
    return path
