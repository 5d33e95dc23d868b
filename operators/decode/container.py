"""Opening a video: what may be opened, which of its streams is meant, and errors that name the file."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from plantain.operators.errors import NoVideoError, SourceError, SourceLostError, SourceNotFoundError
from plantain.operators.paths import AWAY, is_endless, local_path
from plantain.operators.redaction import redact, shown
from plantain.operators.retry import retry

# FFmpeg's log callback takes the GIL and a lock of its own, and has dead-locked (PyAV #751, #2276).
av.logging.set_level(None)

# Containers that hold their media themselves. Playlists (hls, dash, concat) are not among them: they make
# FFmpeg open other local files. The audio formats are here so that the message can say "only sound".
FILE_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,av1,ivf,flv,asf,ogg,mxf,"
    "gif,apng,mjpeg,dv,nut,rm,yuv4mpegpipe,wav,mp3,aac,flac"
)
FILE_PROTOCOLS = "file"
WEB_PROTOCOLS = "http,https,tcp,tls"
# A server that breaks off is asked again for the rest, so often and after pauses that double up to the longest
# (seconds); one that says nothing for so long (microseconds) has broken off.
WEB_PATIENCE = {
    "reconnect": "1",
    "reconnect_on_network_error": "1",
    "reconnect_max_retries": "4",
    "reconnect_delay_max": "4",
    "rw_timeout": "20000000",
}


def open_video(
    url: str, stream: int | None = None, *, protocols: str = "", formats: str = FILE_FORMATS
) -> tuple[InputContainer, VideoStream]:
    """The opened container and the video stream that is meant.

    Args:
        url: A path, `file:///...`, `http://...` or `https://...`.
        stream: Index of the stream in the file; None for the one that a player shows (by FFmpeg's rule: those
            marked as default first, then the largest), never a cover picture.
        protocols: What FFmpeg may use to get at the bytes, separated by commas; empty for what `url` needs.
        formats: Containers that FFmpeg may find there, separated by commas.

    Raises:
        SourceNotFoundError: If nothing is there.
        NoVideoError: If it is empty, no video, cut off before its index, only sound, or a playlist.
        SourceLostError: If its disk is away just now.
        SourceError: If it cannot be read, or has no video stream `stream`.
    """
    name = shown(url)
    is_web = urlsplit(url).scheme in ("http", "https")
    # An absolute path cannot be taken for a protocol, whatever colons are in it (`concat:/a|/b`).
    address = url if is_web else str(local_path(url).absolute())
    if not is_web and is_endless(local_path(url)):
        raise SourceError(f"'{name}' is no file but a pipe or a device, which may never end; name a file")
    options = {
        "protocol_whitelist": protocols or (WEB_PROTOCOLS if is_web else FILE_PROTOCOLS),
        "format_whitelist": formats,
        **(WEB_PATIENCE if is_web else {}),
    }
    try:
        container = av.open(address, options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise _why_closed(name, None if is_web else Path(address), error) from error
    try:
        return container, _choose(container, name, stream)
    except BaseException:
        container.close()
        raise


def is_unreadable(url: str, error: Exception, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Whether a read failed since the bytes could not be had, and not by what is in them.

    Demuxers say so of damage, too: a local file that can be read to its end, now or soon, is damaged, or its disk was
    away for a moment.
    """
    if not isinstance(error, OSError):
        return False
    if urlsplit(url).scheme in ("http", "https"):
        return True  # FFmpeg has been patient
    try:
        retry(partial(_read_through, url), "read", sleep)
    except SourceLostError:
        return True
    return False


def _read_through(url: str) -> None:
    try:
        with local_path(url).open("rb") as file:
            while file.read(1 << 20):
                pass
    except OSError as error:
        raise SourceLostError(f"'{shown(url)}' cannot be read ({error.strerror})") from error


def version_of(url: str) -> tuple[int, ...] | None:
    """What changes when a local file is written to or replaced; None where there is none."""
    try:
        status = local_path(url).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _why_closed(name: str, path: Path | None, error: av.FFmpegError) -> SourceError:
    """What to tell the user about a file that FFmpeg does not open."""
    if isinstance(error, FileNotFoundError | av.error.HTTPNotFoundError):
        return SourceNotFoundError(f"'{name}' does not exist; check the path")
    if isinstance(error, PermissionError | av.error.HTTPForbiddenError | av.error.HTTPUnauthorizedError):
        return SourceError(f"'{name}' cannot be read: permission denied; check who may read it")
    if isinstance(error, IsADirectoryError):
        return SourceError(f"'{name}' is a folder; name the videos in it")
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError | ValueError):
        if path is not None and path.is_file() and path.stat().st_size == 0:
            return NoVideoError(f"'{name}' is empty (0 bytes); copy or record it again")
        return NoVideoError(
            f"'{name}' is not a video that can be read (no known container, a playlist, or cut off before "
            "its index); check that it plays, or copy it again"
        )
    is_away = path is not None and isinstance(error, OSError) and error.errno in AWAY
    kind = SourceLostError if is_away else SourceError
    return kind(f"'{name}' cannot be opened: {redact(error.strerror or str(error))}")


def _choose(container: InputContainer, name: str, index: int | None) -> VideoStream:
    """The video stream `index`, or the best one."""
    videos = [video for video in container.streams.video if not video.disposition & Disposition.attached_pic]
    if not videos:
        kinds = sorted({stream.type for stream in container.streams})
        held = "only " + " and ".join(kinds) if kinds else "no streams"
        raise NoVideoError(f"'{name}' has no video ({held}); leave it out")
    if index is None:
        best = container.streams.best("video")
        chosen = next(
            (video for video in videos if best is not None and video.index == best.index), videos[0]
        )
    else:
        matching = [video for video in videos if video.index == index]
        if not matching:
            there = ", ".join(str(video.index) for video in videos)
            raise SourceError(f"'{name}' has no video stream {index}; its video streams are {there}")
        chosen = matching[0]
    # A damaged header may name a codec that FFmpeg has never heard of; there is then no context at all.
    if chosen.codec_context is None or not chosen.codec_context.is_decoder:
        raise NoVideoError(f"'{name}' is coded in a way that this build cannot decode; convert it to H.264")
    return chosen
