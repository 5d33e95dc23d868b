"""Where frames come from: one class for each kind of stream, named here and imported when it is opened."""

from __future__ import annotations

import glob
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import structlog

from plantain.operators import naming
from plantain.operators.errors import UsageError
from plantain.operators.paths import in_one_spelling
from plantain.operators.redaction import bare, place_of, shown
from plantain.operators.segments import Position
from plantain.operators.sources.base import Source
from plantain.operators.sources.live.address import is_yes, kind_of
from plantain.operators.sources.options import CHECKS
from plantain.operators.sources.stills import files_in, is_ours
from plantain.operators.sources.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES, tell_left_out
from plantain.operators.streams import StreamSpec, View

SOURCES = {
    "file": "plantain.operators.sources.file.source:FileSource",
    "parts": "plantain.operators.sources.file.parts:FileInParts",
    "images": "plantain.operators.sources.images:ImagesSource",
    "synthetic": "plantain.operators.sources.synthetic:SyntheticSource",
    "live": "plantain.operators.sources.live.source:LiveSource",
}
"""Name of each source, and where its class is."""

log = structlog.get_logger()

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_MAX_NAME = 80  # room for a digest and a number

_BY_SCHEME = {"": "file", "file": "file", "http": "file", "https": "file", "synthetic": "synthetic"}


def source_for(spec: StreamSpec) -> str:
    """Name or dotted path of the source that reads `spec`, by the form of its URL unless it names one.

    Raises:
        UsageError: If no source reads such a URL.
    """
    if spec.source:
        return spec.source
    scheme = _scheme(spec.url)
    kind = kind_of(spec.url, is_yes(spec.options.get("realtime", "no")))
    if kind == "realtime" and scheme not in ("", "file"):
        raise UsageError(f"'{shown(spec.url)}': the option realtime is for files; a camera has its own pace")
    if kind not in (None, "http"):  # at other web addresses are files, unless `source` says `live`
        return "live"
    if scheme not in _BY_SCHEME:
        raise UsageError(
            f"'{shown(spec.url)}': no source reads {scheme}:// addresses; give a file, a folder, "
            "synthetic://street, or a source of your own as my_pkg.my_module:MySource"
        )
    if scheme == "" and (_is_folder(spec.url) or Path(spec.url).suffix.lower() in IMAGE_SUFFIXES):
        return "images"
    return _BY_SCHEME[scheme]


def is_live(spec: StreamSpec) -> bool:
    """Whether `spec` is of a stream that cannot be read again, as the class of its source says.

    Raises:
        UsageError: If the source is unknown or cannot be imported.
    """
    name = source_for(spec)
    return name == "live" if name in SOURCES else bool(getattr(_class_of(name), "is_live", False))


def open_source(spec: StreamSpec, view: View, position: Position) -> Source:
    """The opened stream, its next frame being `position`.

    Raises:
        UsageError: If the source is unknown, cannot be imported, or does not take these options.
        SourceError: If the stream cannot be opened.
    """
    return _class_of(source_for(spec))(spec, view, position)


def check_source(spec: StreamSpec) -> None:
    """Finds what opening a stream would find, without opening it.

    Raises:
        UsageError: If no source reads it, its source cannot be imported, or does not take its options.
    """
    name = source_for(spec)
    if (check := CHECKS.get(name)) is not None:
        check(spec)
    else:
        _class_of(name)


def expand(paths: Sequence[str]) -> list[StreamSpec]:
    """The streams that a user means by files, folders, globs and URLs, each under a name of its own (`names_of`).

    Raises:
        UsageError: See `urls_of`.
    """
    meant: dict[str, str] = {}
    for url in (url for path in paths for url in urls_of(path)):
        meant.setdefault(in_one_spelling(url), url)
    urls = list(meant.values())
    return [StreamSpec(name, url) for name, url in zip(names_of(urls), urls, strict=True)]


def urls_of(path: str) -> list[str]:
    """What a user means by a file, folder, glob or URL.

    A folder stands for all videos in it and below it, or, where it holds none, for its images as one stream.
    A file that does not exist stays a stream, which fails when it is opened, so that the others go on.

    Raises:
        UsageError: If a folder is empty or unreadable, or a glob matches nothing.
    """
    if _scheme(path):
        return [path]
    if _is_folder(path):
        return _videos_in(Path(path))
    if glob.has_magic(path) and not _exists(path):
        matches = sorted(found for found in glob.glob(path, recursive=True) if Path(found).is_file())  # noqa: PTH207 (** and absolute patterns in one call)
        matches = _without_output(matches, path)
        if not matches:
            raise UsageError(f"'{shown(path)}' matches no file; check the pattern and the folder")
        return matches
    return [path]


def _without_output(matches: list[str], pattern: str) -> list[str]:
    """Files that a pattern finds, but those of ours, and in output folders of ours, that it does not name itself."""
    named = {*Path(pattern).parents}
    known: dict[Path, bool] = {}
    kept = []
    for match in matches:
        above = [folder for folder in Path(match).parents if folder not in named]
        for folder in above:
            if folder not in known:
                known[folder] = is_ours(folder)
        if not any(known[folder] for folder in above):
            kept.append(match)
    return kept


def _scheme(url: str) -> str:
    """`rtsp` of `rtsp://...`; empty for paths, whatever colons are in them."""
    found = _SCHEME.match(url)
    return "" if found is None else found[1].lower()


def _is_folder(path: str) -> bool:
    """Whether a folder is there, as far as can be told from here."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def _exists(path: str) -> bool:
    """Whether anything is there, as far as can be told from here."""
    try:
        return Path(path).exists()
    except OSError:
        return False


def _class_of(name: str) -> Callable[[StreamSpec, View, Position], Source]:
    """The class behind a name of `SOURCES` or a dotted path."""
    return naming.class_of("source", name, SOURCES.get(name, name), SOURCES)


def _videos_in(folder: Path) -> list[str]:
    """All videos in and below a folder, or the folder itself if it holds images; none that a run of ours has made."""
    try:
        files = files_in(folder)
    except OSError as error:
        raise UsageError(
            f"folder '{shown(str(folder))}' cannot be read: {error.strerror or error}; check who may read it"
        ) from error
    videos = [
        str(file) for file in files if file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".")
    ]
    num_images = sum(file.suffix.lower() in IMAGE_SUFFIXES for file in files)
    if videos and num_images:
        log.warning("images left out", folder=shown(str(folder)), images=num_images, videos=len(videos))
    if videos or num_images:
        tell_left_out(folder, files)
    if videos:
        return videos
    if num_images:
        return [str(folder)]
    raise UsageError(f"folder '{shown(str(folder))}' holds no videos or images; name the folder that does")


def names_of(urls: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """A short name for each URL, unique: a letter, then up to 99 letters, digits, `.`, `_` and `-`.

    Its own name; with that of its folder or host where others have the same; with a digest of the whole where even
    those are the same. How many others there are, and in which order, changes no name; nor does a password. None of
    `taken` is given.
    """
    parts = [_parts(url) for url in urls]
    short = [_named(own) for own, _ in parts]
    others = frozenset(taken)
    counts = Counter([*short, *others])
    longer = [
        _named(f"{parent}-{own}") if counts[name] > 1 and parent else name
        for name, (own, parent) in zip(short, parts, strict=True)
    ]
    counts = Counter([*longer, *others])
    given, twins = set(counts), Counter[str]()
    names: list[str] = []
    for name, url in zip(longer, urls, strict=True):
        unique = name
        if counts[name] > 1:
            base = f"{name}-{_digest(url)}"
            twins[base] += 1
            unique = base if twins[base] == 1 else f"{base}-{twins[base]}"
        while unique != name and unique in given:
            twins[unique] += 1
            unique = f"{unique}-{twins[unique] + 1}"
        given.add(unique)
        names.append(unique)
    return names


def _named(text: str) -> str:
    """A name that begins with a letter: one that begins with a digit would be read as a number or a date."""
    return (text if text[:1].isalpha() else f"video-{text}".rstrip("-"))[:_MAX_NAME]


def _digest(url: str) -> str:
    """Tells addresses apart that have the same name."""
    whole = bare(url) if _scheme(url) else str(Path(url).absolute())
    return hashlib.blake2b(whole.encode(errors="surrogateescape"), digest_size=4).hexdigest()


def _parts(url: str) -> tuple[str, str]:
    """The readable name of a URL, and of what it lies in; of nothing in it that may not be shown."""
    host, found = place_of(url)
    path = Path(found)
    if scheme := _scheme(url):
        host = re.sub(r":\d+$", "", host)
        if scheme == "synthetic":
            seed = re.search(r"[?&]seed=(\w*)", shown(url))
            return _clean(f"{host}-{seed[1]}" if seed else host), ""
        return _clean(path.stem) or _clean(host), _clean(path.parent.name) or _clean(host)
    return _clean(path.name if _is_folder(url) else path.stem), _clean(path.parent.name or Path.cwd().name)


def _clean(text: str) -> str:
    """`text` with what a stream's name may not hold replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")
