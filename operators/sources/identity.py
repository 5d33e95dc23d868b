"""Which file a path means: rows of one film must not go on with another that has its name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from stat import S_ISREG
from typing import Any

from plantain.operators.paths import local_path
from plantain.operators.sources import source_for
from plantain.operators.sources.stills import stills_in
from plantain.operators.sources.web import is_same, is_web, told_of
from plantain.operators.streams import StreamSpec

# So much of the beginning and of the end is looked at, bytes: what two recordings have in common is less.
WINDOW = 16_384
# Recorders that fill files of one size begin and end all of them alike: samples of what is between, bytes each.
SAMPLES, SAMPLE = 8, 4096

Identity = Mapping[str, Any]
"""Plain data: of a file `size`, `mtime_ns`, and digests of its `head`, `tail` and `body`; of one that ends in zeros,
since it was made as long as it will be, where it is `filled` to, and a digest of what is before that (`rim`); of a
folder of stills their `count`, and digests of their `names` and sizes, of their `times`, and of a sample of each
(`body`), in order; of a file on the web what its server says (`web.told_of`). What an older version noted has no
`body`, `times`, `filled` and `rim`."""

_TIMES = ("mtime_ns", "times")
_MAY_LACK = frozenset(("body", "filled", "rim", *_TIMES))


class Change(Enum):
    """What became of an input since it was last looked at."""

    NONE = "none"
    GROWN = "grown"
    REPLACED = "replaced"


def identity_of(spec: StreamSpec, known: Identity | None = None) -> Identity | None:
    """What tells the input of a stream from another in its place; None where there is no such thing, or no file.

    Args:
        spec: The stream.
        known: Of an earlier time; a file of the same size and time is not read again.
    """
    if source_for(spec) not in ("file", "parts", "images"):
        return None
    if is_web(spec.url):
        return told_of(spec.url)
    path = local_path(spec.url)
    try:
        if path.is_dir():
            return _of_stills(path, known)
        if not path.is_file():
            return None
        status = path.stat()
        told = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        if known is not None and told.items() <= known.items():
            return known
        return told | _of_content(path, status.st_size)
    except OSError:
        return None  # whoever opens it says why


def change_of(spec: StreamSpec, known: Identity, now: Identity) -> Change:
    """What became of an input.

    A recording that has grown, or was filled, still has what was its end where that was; a folder of stills begins with
    those it had.

    Args:
        spec: The stream.
        known: Its identity at an earlier time.
        now: Its identity now.
    """
    if is_same_content(known, now):
        return Change.NONE
    if is_web(spec.url):
        return Change.NONE if is_same({**known}, {**now}) else Change.REPLACED
    path = local_path(spec.url)
    try:
        if "count" in known and "count" in now and now["count"] > known["count"]:
            is_grown = is_same_content(known, _of_stills(path, count=known["count"]))
        elif known.get("filled") and now.get("filled", now.get("size", 0)) > known["filled"]:
            end = known["filled"]
            is_begun_alike = end < WINDOW or now["head"] == known["head"]
            is_grown = is_begun_alike and _digest(path, end - WINDOW, end) == known["rim"]
        elif "size" in known and "size" in now and now["size"] > known["size"] > 0:
            end = known["size"]
            is_grown = _digest(path, end - WINDOW, end) == known["tail"]
        else:
            is_grown = False
    except OSError:
        is_grown = False
    return Change.GROWN if is_grown else Change.REPLACED


class Kept:
    """Looks whether a file is, at its end, the one that was begun; what only replaced its name is no matter.

    Args:
        spec: The stream, which is about to be opened.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._spec = spec
        self._known = None if is_web(spec.url) else identity_of(spec)
        self._inode = self._inode_now()

    @property
    def is_written_over(self) -> bool:
        """Whether it was cut, or another was written over it: what was read is of two films, or of half a one."""
        if self._known is None or self._inode_now() != self._inode:
            return False
        now = identity_of(self._spec, self._known)
        return now is not None and change_of(self._spec, self._known, now) is Change.REPLACED

    def _inode_now(self) -> int | None:
        try:
            return None if is_web(self._spec.url) else local_path(self._spec.url).stat().st_ino
        except OSError:
            return None


def is_same_content(one: Identity, other: Identity) -> bool:
    """Whether all but the time is equal, as far as both say: a file that was copied or touched is the same."""
    if one.keys() - _MAY_LACK != other.keys() - _MAY_LACK:
        return False
    return all(one[name] == other[name] for name in one.keys() & other.keys() if name not in _TIMES)


def _of_stills(folder: Path, known: Identity | None = None, count: int | None = None) -> Identity:
    files = stills_in(folder)[:count]
    states = [file.stat() for file in files]
    names = [f"{file.relative_to(folder)} {state.st_size}" for file, state in zip(files, states, strict=True)]
    times = [str(state.st_mtime_ns) for state in states]
    told = {"count": len(files), "names": _digest_of(names), "times": _digest_of(times)}
    if known is not None and told.items() <= known.items():
        return known
    samples = [
        _digest(file, state.st_size // 2, size=SAMPLE)
        if S_ISREG(state.st_mode)
        else ""  # a pipe is never opened
        for file, state in zip(files, states, strict=True)
    ]
    return {**told, "body": _digest_of(samples)}


def _of_content(path: Path, size: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "head": _digest(path, 0),
        "tail": _digest(path, size - WINDOW),
        "body": _body(path, size),
    }
    if size and found["tail"] == hashlib.blake2b(bytes(min(size, WINDOW)), digest_size=16).hexdigest():
        end = _filled(path, size)
        found |= {"filled": end, "rim": _digest(path, end - WINDOW, end)}
    return found


def _filled(path: Path, size: int) -> int:
    """Where what was written of a file ends, and zeros follow; within it zeros may be taken for such an end."""
    begin, end = 0, size
    with path.open("rb") as file:
        while True:
            middle = (begin + end) // 2 if end - begin > SAMPLE else begin
            file.seek(middle)
            written = file.read(SAMPLE)[: size - middle].rstrip(b"\0")
            if middle == begin:
                return begin + len(written)
            begin, end = (middle, end) if written else (begin, middle)


def _body(path: Path, size: int) -> str:
    """Of samples that are spread evenly over a file."""
    places = [size * k // (SAMPLES + 1) for k in range(1, SAMPLES + 1)]
    return _digest_of([_digest(path, place, size=SAMPLE) for place in places])


def _digest_of(lines: list[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _digest(path: Path, begin: int, end: int | None = None, size: int = WINDOW) -> str:
    """Of the bytes from `begin` on, at most `size` of them and none after `end`."""
    begin = max(0, begin)
    size = size if end is None else min(size, end - begin)
    with path.open("rb") as file:
        file.seek(begin)
        return hashlib.blake2b(file.read(size), digest_size=16).hexdigest()
