"""Small named blobs beside the results, on a local disk or an object store: checkpoints and the run's identity."""

from __future__ import annotations

import contextlib
import errno
import os
from functools import cache
from pathlib import Path, PurePosixPath

import structlog
from pyarrow import fs

from plantain.operators.errors import SinkBackpressureError, SinkError
from plantain.operators.redaction import printable, redact, shown

# What an fsync says on file systems that have none.
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
# What object stores say when they are asked too much; their clients have tried several times by then.
_THROTTLED = (
    "SlowDown",
    "SLOW_DOWN",
    "TooManyRequests",
    "ServerBusy",
    "RequestLimitExceeded",
    "rateLimitExceeded",
)
THROTTLED_S = 5.0

log = structlog.get_logger()


def open_filesystem(url: str) -> tuple[fs.FileSystem, str]:
    """The file system and path that `url` names: a local path, `s3://`, `gs://`, `abfs://` or `file://`.

    Raises:
        SinkError: If no such file system exists, or none of it can have that name.
    """
    if printable(url) != url:
        raise SinkError(f"{shown(url)} is no name for an output folder, since it is not UTF-8")
    if "://" not in url:
        return fs.LocalFileSystem(), str(Path(url).absolute())
    try:
        filesystem, path = fs.FileSystem.from_uri(url)
    except (OSError, ValueError, NotImplementedError) as error:
        raise SinkError(f"cannot open {shown(url)}: {redact(str(error))}") from error
    return filesystem, path


class Store:
    """Blobs by name.

    Args:
        url: The folder, local or on an object store.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._filesystem, self._root = open_filesystem(url)

    def put(self, name: str, data: bytes) -> None:
        """Stores a blob as a whole, durably; a reader sees the old one or the new one.

        Raises:
            SinkError: If it cannot be stored.
        """
        path = str(PurePosixPath(self._root) / name)
        try:
            if isinstance(self._filesystem, fs.LocalFileSystem):
                write_durably(Path(path), data)
                return
            with self._filesystem.open_output_stream(path) as stream:
                stream.write(data)
        except OSError as error:
            raise storage_error(self._url, error) from error

    def get(self, name: str) -> bytes | None:
        """The blob of that name, None if there is none.

        Raises:
            SinkError: If it cannot be read.
        """
        path = str(PurePosixPath(self._root) / name)
        try:
            with self._filesystem.open_input_stream(path) as stream:
                return bytes(stream.read())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(self._url, error) from error

    def names(self, folder: str) -> list[str]:
        """Names of all blobs in a folder and below it, sorted.

        Raises:
            SinkError: If the folder cannot be read.
        """
        root = PurePosixPath(self._root)
        selector = fs.FileSelector(str(root / folder), allow_not_found=True, recursive=True)
        try:
            found = self._filesystem.get_file_info(selector)
        except OSError as error:
            raise storage_error(self._url, error) from error
        files = (info.path for info in found if info.type == fs.FileType.File)
        return sorted(str(PurePosixPath(path).relative_to(root)) for path in files)

    def delete(self, name: str) -> None:
        """Removes a blob if it is there.

        Raises:
            SinkError: If it cannot be removed.
        """
        try:
            with contextlib.suppress(FileNotFoundError):
                self._filesystem.delete_file(str(PurePosixPath(self._root) / name))
        except OSError as error:
            raise storage_error(self._url, error) from error


def write_durably(path: Path, data: bytes) -> None:
    """Writes a file aside, makes it durable, and puts it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        sync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def sync(descriptor: int) -> None:
    """Makes a file durable; where the file system cannot, that is said once, and the machine must not fail."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _say_unsynced(error.strerror or str(error))


@cache
def _say_unsynced(why: str) -> None:
    log.warning(
        "no fsync", what="the file system makes nothing durable; results may be lost with power", error=why
    )


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(url: str, error: OSError) -> SinkError:
    """What a user can do about an error of the storage under `url`."""
    where = shown(url)
    if any(word in str(error) for word in _THROTTLED):
        return SinkBackpressureError(f"{where} asks for fewer requests: {redact(str(error))}", THROTTLED_S)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SinkError(
            f"no space is left for results in {where}: free some and run the same command again to go on"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SinkError(f"results cannot be written to {where}: it is not writable; choose another --out")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return SinkError(f"results cannot be written to {where}: it is not a folder; choose another --out")
    if error.errno in (errno.ENOENT, errno.EINVAL):
        return SinkError(
            f"results cannot be written to {where}: no folder can be made there; choose another --out"
        )
    return SinkError(f"results cannot be written to {where}: {redact(str(error))}")
