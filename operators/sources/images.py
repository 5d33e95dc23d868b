"""A folder of images, or one image, as a stream."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import structlog
from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import OPEN_INFO, TiffImageFile

from plantain.operators.errors import NoVideoError, SourceError, SourceLostError, SourceNotFoundError
from plantain.operators.geometry import Letterbox
from plantain.operators.paths import AWAY, is_endless, local_path
from plantain.operators.redaction import printable, shown
from plantain.operators.segments import Position
from plantain.operators.sources.options import check_images, fraction_of
from plantain.operators.sources.sequence import Picture, SequenceSource
from plantain.operators.sources.stills import stills_in
from plantain.operators.streams import Canvas, StreamSpec, View

BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, ArithmeticError, LookupError, TypeError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
"""What Pillow's parsers raise of damaged files."""

_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _SIGNED = 258, 339, 2  # of TIFF

# Grey TIFFs whose numbers Pillow can unpack and does not know: by byte order, photometric interpretation (1: black is
# 0), kind and order of bits, their number, further bands.
OPEN_INFO.setdefault((b"MM", 1, (1,), 1, (32,), ()), ("I", "I;32B"))
OPEN_INFO.setdefault((b"II", 1, (3,), 1, (64,), ()), ("F", "F;64F"))
OPEN_INFO.setdefault((b"MM", 1, (3,), 1, (64,), ()), ("F", "F;64BF"))
# What its decoder of compressed ones gives is in this machine's order, whatever the file's is (Pillow heeds that for
# unsigned numbers of 16 bits only).
_NATIVE = {
    "I;16BS": "I;16NS", "I;32B": "I;32N", "I;32BS": "I;32NS", "F;32BF": "F;32NF", "F;64BF": "F;64NF",
    "F;64F": "F;64NF",
}  # fmt: skip

log = structlog.get_logger()


class ImagesSource(SequenceSource):
    """The images of a folder and of those below it, in natural order (1, 2, 10); turned as their EXIF data says.

    What cannot be read is counted as damaged and passed over, wherever it stands. Of an animation the first picture is
    looked at.

    Options (`StreamSpec.options`):
        fps: Images per second of stream time, 25 if left out.

    Args:
        spec: Its url is the folder, or one image.
        view: What the frames must look like.
        position: Where to begin.

    Raises:
        UsageError: If an option is unknown or no number.
        SourceNotFoundError: If there is no such folder.
        NoVideoError: If it holds no image that can be read.
        SourceError: If it cannot be read.
    """

    def __init__(self, spec: StreamSpec, view: View, position: Position) -> None:
        check_images(spec)
        path = local_path(spec.url)
        self._files = _files(path)
        self._root = path.parent if path.is_file() else path
        fps = fraction_of(spec, "fps", spec.options.get("fps", "25"))
        super().__init__(spec, view, position, len(self._files), fps)

    def picture(self, index: int) -> Picture:
        """Image `index`; see `picture_of`.

        Raises:
            SourceLostError: If its disk is away just now.
            SourceError: If it is no image, or is gone.
        """
        file = self._files[index]
        try:
            with _opened(file) as opened:
                if getattr(opened, "n_frames", 1) > 1:
                    log.warning(
                        "animation",
                        stream=self._spec.stream_id,
                        image=shown(str(file)),
                        looked_at="the first",
                    )
                return picture_of(opened, self._view)._replace(
                    name=printable(str(file.relative_to(self._root)))
                )
        except BROKEN as error:
            if isinstance(error, OSError) and (error.errno in AWAY or not os.path.lexists(file)):
                kind = SourceLostError if error.errno in AWAY else SourceError
                raise kind(
                    f"'{shown(str(file))}' was there at the start, and cannot be reached any more ({error.strerror}): "
                    "run the same command again to go on"
                ) from error
            raise NoVideoError(
                f"'{shown(str(file))}' is not an image that can be read; leave it out"
            ) from error

    def size_hw(self) -> tuple[int, int]:
        """Size of the first image that is one, pixels."""
        for file in self._files:
            with contextlib.suppress(*BROKEN), _opened(file) as opened:
                return _shown_hw(opened)
        raise NoVideoError(
            f"not one of the {len(self._files)} images in '{shown(self._spec.url)}' can be read"
        )


def _opened(file: Path) -> Image.Image:
    """An image that is not read yet.

    Raises:
        OSError, ValueError, SyntaxError: If it is none.
    """
    if is_endless(file):
        raise OSError("a pipe or a device")
    return Image.open(file)


def picture_of(opened: Image.Image, view: View) -> Picture:
    """An opened image, read to its end, of 8 bits: wider numbers are scaled by the range of their type.

    Of a JPEG file little more is decoded than `view` can show: 768x448, 1920x1080 and 4000x3000 took 1.0, 5.7 and
    17.5 ms instead of 2.3, 11.0 and 75.7 (measured 2026-11-22).

    Args:
        opened: Not read yet.
        view: What is made of it.

    Raises:
        OSError, ValueError, SyntaxError: If it is damaged.
    """
    width, height = opened.size
    source_hw = _shown_hw(opened)
    factor = _surplus(source_hw, view)
    if factor > 1:
        opened.draft(None, (width // factor, height // factor))  # does nothing where the format cannot
    return Picture(_rgb_of(opened), source_hw)


def _surplus(source_hw: tuple[int, int], view: View) -> int:
    """How many times smaller, each way, a picture may be decoded: to just what is needed, or to twice that and more.

    Between these, the average over areas would weigh pixels unevenly.
    """
    canvases = (Canvas(view.model_hw, view.fit), *view.more)
    fits = [Letterbox.fit(source_hw, canvas.model_hw, canvas.fit) for canvas in canvases]
    shown_hw = view.shown_hw(source_hw) or (0, 0)
    needed_hw = (
        max(shown_hw[0], *(fit.height for fit in fits)),
        max(shown_hw[1], *(fit.width for fit in fits)),
    )
    for factor in (8, 4, 2):
        sides = list(zip(source_hw, needed_hw, strict=True))
        if all(side == factor * needed for side, needed in sides):
            return factor
        if all(side >= 2 * factor * needed for side, needed in sides):
            return factor
    return 1


def _shown_hw(opened: Image.Image) -> tuple[int, int]:
    """Height and width of an opened image as it is displayed, pixels."""
    width, height = opened.size
    is_turned = opened.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    return (width, height) if is_turned else (height, width)


def _rgb_of(opened: Image.Image) -> Image.Image:
    """An opened image as it is displayed, RGB and read to its end."""
    if isinstance(opened, TiffImageFile):
        opened.tile = [_as_decoded(tile) for tile in opened.tile]
    white, kind = _white_of(opened), _kind_of(opened)
    ImageOps.exif_transpose(opened, in_place=True)
    opened.load()
    if white is not None:
        numbers = np.asarray(opened)
        if kind is not None:
            numbers = numbers.view(kind)
        wide = np.nan_to_num(numbers.astype(np.float64), nan=0.0, posinf=white, neginf=0.0)
        opened = Image.fromarray(np.rint(np.clip(wide / white, 0.0, 1.0) * 255).astype(np.uint8))
    if opened.mode in ("RGBa", "La", "PA") or isinstance(opened.info.get("transparency"), bytes):
        opened = opened.convert("RGBA")
    return opened if opened.mode == "RGB" else opened.convert("RGB")


def _as_decoded(tile: ImageFile._Tile) -> ImageFile._Tile:
    """A tile of a TIFF with the order of bytes in which its decoder gives them."""
    if tile.codec_name != "libtiff" or not isinstance(tile.args, tuple) or tile.args[0] not in _NATIVE:
        return tile
    return tile._replace(args=(_NATIVE[tile.args[0]], *tile.args[1:]))


def _white_of(opened: Image.Image) -> float | None:
    """The number that stands for white in an image of one channel, by its type; None where 255 does."""
    if opened.mode == "F":
        return 1.0
    is_signed = _is_signed(opened)
    if opened.mode == "L" and is_signed:
        return 127.0
    if opened.mode != "I" and not opened.mode.startswith("I;16"):
        return None
    if isinstance(opened, TiffImageFile):  # also of 12 bits, in numbers of 16
        bits = int(np.max(opened.tag_v2.get(_BITS_PER_SAMPLE, 32 if opened.mode == "I" else 16)))
        return float(2 ** (bits - is_signed) - 1)
    return 65_535.0  # PNG and its like have no more than 16 bits


def _kind_of(opened: Image.Image) -> type[np.int8 | np.uint32] | None:
    """What the numbers of an image are that Pillow takes for others of that size; None where it takes them right."""
    if opened.mode == "L" and _is_signed(opened):
        return np.int8
    if opened.mode == "I" and isinstance(opened, TiffImageFile) and not _is_signed(opened):
        return np.uint32
    return None


def _is_signed(opened: Image.Image) -> bool:
    if not isinstance(opened, TiffImageFile):
        return False
    return int(np.max(opened.tag_v2.get(_SAMPLE_FORMAT, 1))) == _SIGNED


def _files(path: Path) -> list[Path]:
    """The images that a path means."""
    try:
        if not path.exists():
            raise SourceNotFoundError(f"'{shown(str(path))}' does not exist; check the path")
        files = [path] if path.is_file() else stills_in(path)
    except OSError as error:
        raise SourceError(
            f"folder '{shown(str(path))}' cannot be read: {error.strerror}; check who may read it"
        ) from error
    if not files:
        raise NoVideoError(f"folder '{shown(str(path))}' holds no images; name the folder that does")
    return files
