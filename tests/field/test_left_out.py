"""Files of a folder are read whatever kind they are of, and what is left out for its name is told of."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from structlog.testing import capture_logs

from plantain.operators.sources import urls_of
from plantain.operators.sources.recordings import Recordings
from tests.assets.clips import make, numbered
from tests.field.runs import rows, run

PICTURES = {
    "RGB": [
        ".avif", ".bmp", ".dib", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo",
        ".pcx", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
    ],
    "L": [".pgm"],
    "1": [".pbm"],
    "I;16": [".pgm", ".png", ".tif"],
    "F": [".pfm", ".tif"],
}  # fmt: skip

RENAMED = {
    ".264": "h264", ".avc": "h264", ".dav": "h264", ".265": "hevc", ".h265": "hevc", ".qt": "mov", ".f4v": "mp4",
    ".mp4v": "mp4", ".3g2": "mp4", ".ismv": "mp4", ".m2t": "ts", ".tp": "ts", ".trp": "ts", ".tod": "ts", ".mpe": "mpg",
    ".mod": "vob", ".m2p": "vob", ".ps": "vob", ".mpv": "mpg", ".divx": "avi", ".xvid": "avi", ".nut": "nut",
    ".mk3d": "mkv", ".mjpg": "mjpeg", ".ogm": "ogv",
}  # fmt: skip
CODECS = {
    "h264": "libx264", "hevc": "libx265", "mpg": "mpeg1video", "vob": "mpeg2video", "avi": "mpeg4", "mjpeg": "mjpeg",
    "ogv": "libvpx",
}  # fmt: skip


def test_pictures_of_all_kinds_are_read_beside_one_another(tmp_path: Path) -> None:
    folder, out = tmp_path / "stills", tmp_path / "out"
    folder.mkdir()
    names = []
    for mode, suffixes in PICTURES.items():
        for suffix in suffixes:
            picture = Image.fromarray(numbered(len(names) + 1, 64, 36))
            picture = picture.convert("L").convert("I;16") if mode == "I;16" else picture.convert(mode)
            names.append(f"{len(names) + 1}{suffix}")
            picture.save(folder / names[-1])
    with capture_logs() as lines:
        assert run([folder], out).exit_code == 0
    assert [row[3] for row in rows(out)] == names
    assert not [line for line in lines if line["event"] == "files left out"]
    assert run([folder / "1.avif"], tmp_path / "one").exit_code == 0
    assert [row[3] for row in rows(tmp_path / "one")] == ["1.avif"]


def test_videos_of_all_kinds_are_read_beside_one_another(tmp_path: Path) -> None:
    folder, out = tmp_path / "films", tmp_path / "out"
    folder.mkdir()
    for kind in {*RENAMED.values()}:
        options = {"pix_fmt": "yuvj420p"} if kind == "mjpeg" else {}
        whole = make(
            tmp_path / f"whole.{kind}",
            8,
            codec=CODECS.get(kind, "libx264"),
            size=(64, 48),
            b_frames=0,
            **options,
        )
        for suffix in (suffix for suffix, of in RENAMED.items() if of == kind):
            (folder / f"v{suffix[1:]}{suffix.upper()}").write_bytes(whole.read_bytes())
    with capture_logs() as lines:
        assert run([folder], out).exit_code == 0
    counts = {suffix: len(rows(out, f"v{suffix[1:]}")) for suffix in RENAMED}
    assert counts == dict.fromkeys(RENAMED, 8)
    assert not [line for line in lines if line["event"] == "files left out"]


@pytest.mark.parametrize("beside", ["a.mp4", "a.png"])
def test_what_is_left_out_for_its_name_is_told_of_once_with_its_number(tmp_path: Path, beside: str) -> None:
    for name in (
        beside,
        "deep/b.blend",
        "c.blend",
        "rec",
        "README",
        "a.txt",
        "a.srt",
        "a.JSON",
        "._a.mp4x",
        "a.part",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with capture_logs() as lines:
        urls_of(str(tmp_path))
    told = [line for line in lines if line["event"] == "files left out"]
    assert [(line["files"], line["first"]) for line in told] == [(3, "c.blend")]


def test_in_a_watched_folder_it_is_told_once_of_each_kind(tmp_path: Path) -> None:
    found = Recordings(tmp_path)
    with capture_logs() as lines:
        for name in ("a.ts", "a.jpg", "a.ts.part", "1.heic", "2.heic", "x.braw", "3.heic"):
            (tmp_path / name).touch()
            found.look(0.0)
            found.look(1.0)
    assert [(line["files"], line["first"]) for line in lines] == [(1, "1.heic"), (1, "x.braw")]
