"""What lies behind the place where FFmpeg stops reading a file: a further recording, where some were joined.

Only what begins like a recording counts. Indexes, padding, other streams and damage at the end of a file are no loss.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

# How a file of each container begins, by FFmpeg's name for it. The others are read on, or are told by boxes.
_BEGINNINGS = {
    "flv": b"FLV\x01",
    "asf": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    "nut": b"nut/multimedia container\0",
    "ivf": b"DKIF\0\0",
    "apng": b"\x89PNG\r\n\x1a\n",
    "rm": b".RMF\0\0\0\x12",
    "yuv4mpegpipe": b"YUV4MPEG2 ",
    "mxf": bytes.fromhex("060e2b34020501010d0102010102"),  # the key of a header, which comes once
}
_WINDOW = 1 << 20
# So far behind the last packet a beginning is looked for, bytes; indexes of long files are smaller.
_FAR = 64 << 20
# A packet that swallows the next beginning may be said to begin behind it, bytes.
_NEAR = 64
_MAX_BOXES = 500_000


def unread_bytes(path: Path, container: str, last: int) -> int:
    """Bytes from the beginning of a further recording to the end of the file; 0 if there is none.

    Args:
        path: The file.
        container: FFmpeg's name for its format.
        last: Where the last packet that was read begins, bytes.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if container.startswith("mov,"):
                begin = _second_movie(file, size)
            elif container in _BEGINNINGS:
                begin = _find(file, _BEGINNINGS[container], max(1, last - _NEAR))
            else:
                begin = None
    except OSError:
        return 0
    return 0 if begin is None else size - begin


def _find(file: BinaryIO, beginning: bytes, at: int) -> int | None:
    """Where it comes for the first time from `at` on."""
    end = at + _FAR
    before = b""
    while at < end:
        file.seek(at)
        if not (data := file.read(_WINDOW)):
            return None
        found = (before + data).find(beginning)
        if found >= 0:
            return at - len(before) + found
        at += len(data)
        before = data[-len(beginning) + 1 :]
    return None


def _second_movie(file: BinaryIO, size: int) -> int | None:
    """Where a further movie begins among the boxes of the file: its `ftyp`, or its `moov` where it has none."""
    at = 0
    begin: int | None = None
    has_movie = False
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if len(head) < 8 or not kind.strip().isalnum():
            return None
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:
            length = size - at
        if kind == b"ftyp" and at > 0:
            begin = at
        elif kind == b"moov":
            if has_movie:
                return at if begin is None else begin
            has_movie = True
        if length < 8:
            return None
        at += length
    return None
