"""A folder of images, or one image, as a stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from plantain.operators.decode.container import local_path
from plantain.operators.errors import NoVideoError, SourceError, SourceNotFoundError, UsageError
from plantain.operators.geometry import Letterbox
from plantain.operators.sources import IMAGE_SUFFIXES
from plantain.operators.sources.sequence import Picture, SequenceSource, fraction_of
from plantain.operators.streams import Canvas, StreamSpec, View
from plantain.operators.types import Position


class ImagesSource(SequenceSource):
    """The images of a folder, sorted by name; turned as their EXIF data says.

    Options (`StreamSpec.options`):
        fps: Images per second of stream time, 25 if left out.

    Args:
        spec: Its url is the folder, or one image.
        view: What the frames must look like.
        position: Where to begin.

    Raises:
        UsageError: If an option is unknown or no number.
        SourceNotFoundError: If there is no such folder.
        NoVideoError: If it holds no images, or the first is none.
        SourceError: If it cannot be read.
    """

    def __init__(self, spec: StreamSpec, view: View, position: Position) -> None:
        unknown = sorted(set(spec.options) - {"fps"})
        if unknown:
            raise UsageError(
                f"stream '{spec.stream_id}': images have no option {', '.join(unknown)}; they have fps"
            )
        self._files = _files(local_path(spec.url))
        fps = fraction_of(spec, "fps", spec.options.get("fps", "25"))
        super().__init__(spec, view, position, len(self._files), fps)

    def picture(self, index: int) -> Picture:
        """Image `index`; 16-bit images are scaled to 8 bits.

        Raises:
            SourceError: If it is no image.
        """
        file = self._files[index]
        try:
            with Image.open(file) as opened:
                return picture_of(opened, self._view)._replace(name=file.name)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise NoVideoError(f"'{file}' is not an image that can be read; leave it out") from error

    def size_hw(self) -> tuple[int, int]:
        """Size of the first image, pixels."""
        return self.picture(0).source_hw


def picture_of(opened: Image.Image, view: View) -> Picture:
    """An opened image, read to its end; 16-bit images are scaled to 8 bits.

    Of a JPEG file little more is decoded than `view` can show: 768x448, 1920x1080 and 4000x3000 took 1.0, 5.7 and
    17.5 ms instead of 2.3, 11.0 and 75.7 (measured 2026-11-22).

    Args:
        opened: Not read yet.
        view: What is made of it.

    Raises:
        OSError, ValueError, SyntaxError: If it is damaged.
    """
    width, height = opened.size
    is_turned = opened.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    source_hw = (width, height) if is_turned else (height, width)
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


def _rgb_of(opened: Image.Image) -> Image.Image:
    """An opened image as it is displayed, RGB and read to its end."""
    ImageOps.exif_transpose(opened, in_place=True)
    if opened.mode.startswith(("I", "F")):
        wide = np.asarray(opened, np.float32)
        opened = Image.fromarray((wide / max(wide.max(), 1.0) * 255).astype(np.uint8))
    opened.load()
    return opened if opened.mode == "RGB" else opened.convert("RGB")


def _files(path: Path) -> list[Path]:
    """The images that a path means."""
    try:
        if not path.exists():
            raise SourceNotFoundError(f"'{path}' does not exist; check the path")
        if path.is_file():
            return [path]
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise SourceError(
            f"folder '{path}' cannot be read: {error.strerror}; check who may read it"
        ) from error
    if not files:
        raise NoVideoError(f"folder '{path}' holds no images; name the folder that does")
    return files
