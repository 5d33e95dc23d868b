"""What files in folders are, by their names; a file that is named itself is looked into, whatever it is called."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog

from plantain.operators.redaction import shown

IMAGE_SUFFIXES = frozenset(
    (
        ".avif", ".bmp", ".dib", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm",
        ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
    )
)  # fmt: skip

VIDEO_SUFFIXES = frozenset(
    (
        ".264", ".265", ".3g2", ".3gp", ".amv", ".asf", ".av1", ".avc", ".avi", ".dav", ".dif", ".divx", ".dv",
        ".f4v", ".flv", ".gif", ".h263", ".h264", ".h265", ".hevc", ".ismv", ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts",
        ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mk3d", ".mkv", ".mod", ".mov", ".mp4", ".mp4v", ".mpe", ".mpeg",
        ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".ps", ".qt", ".rm", ".rmvb", ".tod", ".tp",
        ".trp", ".ts", ".vc1", ".vob", ".webm", ".wmv", ".wtv", ".xvid", ".y4m",
    )
)  # fmt: skip

# What lies beside recordings and pictures and is none: nobody misses it.
_SIDECARS = frozenset(
    (
        ".aac", ".ass", ".bak", ".bin", ".cfg", ".conf", ".crdownload", ".csv", ".db", ".doc", ".docx", ".flac",
        ".geojson", ".gpx", ".gz", ".htm", ".html", ".idx", ".index", ".ini", ".json", ".jsonl", ".kml", ".lnk",
        ".lock", ".log", ".lrv", ".m3u", ".m3u8", ".m4a", ".md", ".md5", ".mp3", ".mpd", ".nfo", ".npy", ".npz",
        ".parquet", ".part", ".partial", ".pdf", ".py", ".rst", ".sh", ".sha1", ".sha256", ".smi", ".sqlite", ".srt",
        ".ssa", ".sub", ".tar", ".temp", ".thm", ".tmp", ".toml", ".tsv", ".txt", ".url", ".vtt", ".wav", ".wma",
        ".writing", ".xls", ".xlsx", ".xml", ".xmp", ".yaml", ".yml", ".zip",
    )
)  # fmt: skip

_PAPERS = frozenset(("authors", "changelog", "copying", "license", "makefile", "notice", "readme"))

log = structlog.get_logger()


def is_unknown(file: Path) -> bool:
    """Whether a file in a folder may be a recording or a picture, and is not taken for one for its name."""
    suffix = file.suffix.lower()
    if file.name.startswith(".") or file.name.lower() in _PAPERS:
        return False
    return suffix not in IMAGE_SUFFIXES | VIDEO_SUFFIXES | _SIDECARS


def tell_left_out(folder: Path, files: Iterable[Path]) -> None:
    """Says how many files of a folder are left out for their names, and the first of them."""
    unknown = [file for file in files if is_unknown(file)]
    if unknown:
        log.warning(
            "files left out",
            folder=shown(str(folder)),
            files=len(unknown),
            first=shown(str(unknown[0].relative_to(folder))),
            what="they are not called videos or pictures; rename them, or name them themselves",
        )
