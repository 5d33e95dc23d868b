"""Stills: each looked at once, in the order in which people count, as it looks to people; others are passed over."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plantain.operators.segments import Position
from plantain.operators.sources import open_source
from plantain.operators.streams import StreamSpec, View
from plantain.pipeline.config.serve import ServeConfig
from tests.assets.clips import numbered
from tests.field.runs import rows, run

VIEW = View((36, 64), "stretch")


def images_of(folder: Path) -> tuple[list[str], list[np.ndarray], int]:
    source = open_source(StreamSpec("s", str(folder), "images"), VIEW, Position())
    frames = []
    while not source.ended:
        frames += source.read(4)
    damaged = source.num_damaged
    source.close()
    return [frame.info.image for frame in frames], [frame.image for frame in frames], damaged


def save(path: Path, number: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbered(number, 64, 36)).save(path)


@pytest.mark.parametrize(
    "names",
    [
        ["1.png", "2.png", "10.png"],
        ["IMG_9.jpg", "IMG_10.jpg", "IMG_0100.jpg"],
        ["a1b2.png", "a1b10.png", "a2b1.png"],
        ["x.png", "x1.png", "x1a.png", "X2.png"],
        ["1.png", "2/1.png", "2/3.png", "10/2.png"],
        ["frame007.webp", "frame08.webp", "frame9.webp"],
    ],
)
def test_people_count_one_two_ten(tmp_path: Path, names: list[str]) -> None:
    for name in reversed(names):
        save(tmp_path / name)
    assert images_of(tmp_path)[0] == names


@pytest.mark.parametrize("where", ["first", "middle", "last", "two first", "subfolder"])
@pytest.mark.parametrize("kind", ["sidecar", "empty", "text", "cut off"])
def test_what_is_no_picture_is_counted_and_passed_over(tmp_path: Path, where: str, kind: str) -> None:
    for number in (2, 4, 6):
        save(tmp_path / f"{number}.jpg", number)
    whole = (tmp_path / "2.jpg").read_bytes()
    bad = {"sidecar": b"\0\5\26\7 Mac OS X", "empty": b"", "text": b"not a picture", "cut off": whole[:40]}[
        kind
    ]
    names = {
        "first": ["1"],
        "middle": ["3"],
        "last": ["9"],
        "two first": ["0", "1"],
        "subfolder": ["deep/1"],
    }[where]
    for name in names:
        path = tmp_path / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        (path.with_name(f"._{path.name}") if kind == "sidecar" else path).write_bytes(bad)
    found, _, damaged = images_of(tmp_path)
    assert found == ["2.jpg", "4.jpg", "6.jpg"]
    assert damaged == len(names)


def test_hidden_folders_and_notes_are_no_stills(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / ".thumbnails" / "a.png")
    (tmp_path / "in" / "notes.txt").write_text("a")
    (tmp_path / "in" / ".DS_Store").write_text("a")
    assert images_of(tmp_path / "in")[0] == ["a.png"]
    outcome = run([tmp_path / "in"], tmp_path / "out")
    assert (outcome.exit_code, rows(tmp_path / "out")) == (0, [("in", 0, 0.0, "a.png")])


def test_links_to_folders_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    save(tmp_path / "in" / "z" / "1.png")
    save(tmp_path / "elsewhere" / "2.png")
    save(tmp_path / "elsewhere" / "deep" / "3.png")
    for link, target in {
        "a": "in/z",  # is there itself: it keeps its name
        "b": "elsewhere",
        "c": "elsewhere",
        "up": "in",
        "z/round": "in",
        "gone": "nowhere",
    }.items():
        (tmp_path / "in" / link).symlink_to(tmp_path / target)
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "in")
    assert images_of(tmp_path / "in")[0] == ["b/2.png", "b/deep/3.png", "z/1.png"]


def level(image: np.ndarray) -> int:
    return round(float(image.mean()))


WIDE = {
    "gray 16 bit": (np.uint16, "png", {2000: 8, 32768: 128, 65535: 255}),
    "gray 16 bit TIFF": (np.uint16, "tif", {2000: 8, 32768: 128, 65535: 255}),
    "int 32 bit TIFF": (np.int32, "tif", {-5: 0, 2**30: 128, 2**31 - 1: 255}),
    "float TIFF": (np.float32, "tif", {-1.0: 0, 0.5: 128, 1.0: 255, 7.0: 255}),
}


@pytest.mark.parametrize("kind", sorted(WIDE))
@pytest.mark.parametrize("has_white_spot", [False, True])
def test_wide_numbers_are_scaled_by_their_type(tmp_path: Path, kind: str, has_white_spot: bool) -> None:
    dtype, suffix, expected = WIDE[kind]
    for place, (value, shade) in enumerate(expected.items()):
        pixels = np.full((36, 64), value, dtype)
        if has_white_spot:
            pixels[0, 0] = max(expected)
        Image.fromarray(pixels).save(tmp_path / f"{place}.{suffix}")
        (image,) = images_of(tmp_path)[1][place:]
        assert abs(level(image) - shade) <= 1


def tiff(numbers: np.ndarray, order: str, *, is_packed: bool = False) -> bytes:
    """A TIFF file of (H, W) numbers, turned if packed; `order` is `<` for Intel's and `>` for Motorola's."""
    height, width = numbers.shape
    pixels = numbers.astype(numbers.dtype.newbyteorder(order)).tobytes()
    pixels = zlib.compress(pixels) if is_packed else pixels
    kind = {"u": 1, "i": 2, "f": 3}[numbers.dtype.kind]
    tags = {
        256: width, 257: height, 258: numbers.dtype.itemsize * 8,
        259: 8 if is_packed else 1, 262: 1, 273: 8, 274: 6 if is_packed else 1,
        277: 1, 278: height, 279: len(pixels), 339: kind,
    }  # fmt: skip
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(pixels))
    listed = b"".join(struct.pack(order + "HHII", tag, 4, 1, number) for tag, number in tags.items())
    return head + pixels + struct.pack(order + "H", len(tags)) + listed + bytes(4)


RANGES = {
    "int8": {-100: 0, 0: 0, 64: 128, 127: 255},
    "uint8": {0: 0, 64: 64, 200: 200, 255: 255},
    "int16": {-2: 0, 2**14: 128, 2**15 - 1: 255},
    "uint16": {0: 0, 2**15: 128, 2**16 - 1: 255},
    "int32": {-(2**31): 0, 2**30: 128, 2**31 - 1: 255},
    "uint32": {0: 0, 2**24: 1, 2**31 - 1: 127, 2**31: 128, 3 * 2**30: 191, 2**32 - 1: 255},
    "float32": {-1: 0, 0.25: 64, 1: 255, 300: 255},
    "float64": {-1: 0, 0.25: 64, 0.5: 128, 1: 255, 1e300: 255},
}


@pytest.mark.parametrize("kind", sorted(RANGES))
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("is_packed", [False, True])
def test_numbers_of_a_tiff_are_those_of_its_type(
    tmp_path: Path, kind: str, order: str, is_packed: bool
) -> None:
    for place, value in enumerate(RANGES[kind]):
        numbers = np.full((36, 64), value, kind)
        (tmp_path / f"{place}.tif").write_bytes(tiff(numbers, order, is_packed=is_packed))
    found = [level(image) for image in images_of(tmp_path)[1]]
    assert found == pytest.approx(list(RANGES[kind].values()), abs=1)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bands", [3, 4])
def test_bands_of_sixteen_bits_are_scaled_by_their_type(tmp_path: Path, order: str, bands: int) -> None:
    shades = np.array([8, 64, 200, 255][:bands])
    pixels = np.full((36, 64, bands), shades * 257, np.uint16)
    (tmp_path / "a.tif").write_bytes(banded(pixels, order))
    (image,) = images_of(tmp_path)[1]
    assert image[20, 20].tolist() == pytest.approx(shades[:3].tolist(), abs=1)


def banded(numbers: np.ndarray, order: str) -> bytes:
    """A TIFF file of (H, W, 3 or 4) numbers of 16 bits, the fourth one for alpha."""
    height, width, bands = numbers.shape
    pixels = numbers.astype(order + "u2").tobytes()
    bits = struct.pack(order + "H" * bands, *[16] * bands)
    tags = {
        256: (1, width), 257: (1, height), 258: (bands, 8), 259: (1, 1), 262: (1, 2), 273: (1, 16),
        277: (1, bands), 278: (1, height), 279: (1, len(pixels)),
    } | ({338: (1, 2)} if bands == 4 else {})  # fmt: skip
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 16 + len(pixels))
    listed = b"".join(
        struct.pack(order + "HHI", tag, 3, count)
        + (struct.pack(order + "I", value) if count > 1 else struct.pack(order + "HH", value, 0))
        if value < 2**16
        else struct.pack(order + "HHII", tag, 4, count, value)
        for tag, (count, value) in tags.items()
    )
    return head + bits.ljust(8, b"\0") + pixels + struct.pack(order + "H", len(tags)) + listed + bytes(4)


@pytest.mark.parametrize(("value", "shade"), [(0, 0), (1024, 64), (4095, 255)])
def test_twelve_bits_are_scaled_by_what_the_file_says(tmp_path: Path, value: int, shade: int) -> None:
    pair = bytes((value >> 4, (value & 15) << 4 | value >> 8, value & 255))  # two pixels in three bytes
    pixels = pair * (64 * 36 // 2)
    tags = {256: 64, 257: 36, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 36, 279: len(pixels)}
    head = b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, number) for tag, number in tags.items())
    path = tmp_path / "a.tif"
    path.write_bytes(head + struct.pack("<H", len(tags)) + listed + bytes(4))
    assert [level(image) for image in images_of(tmp_path)[1]] == [shade]


def test_what_is_no_number_is_black(tmp_path: Path) -> None:
    Image.fromarray(np.full((36, 64), np.nan, np.float32)).save(tmp_path / "a.tif")
    Image.fromarray(np.full((36, 64), -np.inf, np.float32)).save(tmp_path / "b.tif")
    Image.fromarray(np.full((36, 64), np.inf, np.float32)).save(tmp_path / "c.tif")
    assert [level(image) for image in images_of(tmp_path)[1]] == [0, 0, 255]


MODES = {
    "palette": lambda image: image.convert("P", palette=Image.Palette.ADAPTIVE),
    "palette with transparency": lambda image: image.convert("RGBA").quantize(64),
    "alpha": lambda image: image.convert("RGBA"),
    "gray with alpha": lambda image: image.convert("LA"),
    "gray": lambda image: image.convert("L"),
    "one bit": lambda image: image.convert("1", dither=Image.Dither.NONE),
}


@pytest.mark.parametrize("mode", sorted(MODES))
def test_pictures_of_every_mode_look_as_they_are(tmp_path: Path, mode: str) -> None:
    plain = Image.fromarray(numbered(37, 64, 36))
    MODES[mode](plain).save(tmp_path / "a.png")
    (image,) = images_of(tmp_path)[1]
    grey = np.asarray(plain.convert("L"), int)
    seen = np.asarray(Image.fromarray(image).convert("L"), int)
    top = slice(2, 16)  # where the bars are: black and white
    assert (np.abs(grey[top] - seen[top]) > 60).mean() < 0.1


def test_cmyk_and_turned_pictures(tmp_path: Path) -> None:
    plain = Image.fromarray(numbered(37, 64, 36))
    plain.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    exif = Image.Exif()
    exif[274] = 6
    plain.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.jpg", quality=95, exif=exif)
    for image in images_of(tmp_path)[1]:
        assert np.abs(image.astype(int) - np.asarray(plain, int)).mean() < 12


@pytest.mark.parametrize("suffix", ["webp", "png", "tif"])
def test_of_an_animation_the_first_picture_is_looked_at(tmp_path: Path, suffix: str) -> None:
    pictures = [Image.fromarray(numbered(number, 64, 36)) for number in (5, 200, 77)]
    pictures[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=pictures[1:])
    save(tmp_path / f"b.{suffix}", 9)
    assert images_of(tmp_path)[0] == [f"a.{suffix}", f"b.{suffix}"]


def test_over_http_wide_numbers_are_the_same() -> None:
    from plantain.deploy.service.inputs import frame_of_image

    for value, shade in ((2000, 8), (60000, 233)):
        file = io.BytesIO()
        pixels = np.full((36, 64), value, np.uint16)
        pixels[3, 3] = 65535
        Image.fromarray(pixels).save(file, "PNG")
        frame = frame_of_image(file.getvalue(), VIEW, ServeConfig())
        assert abs(level(frame.image) - shade) <= 1
