"""Overlay videos of many clips: as many encoders as there are, not as many as there are clips."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from plantain.operators.answers.masks.value import Masks
from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt
from plantain.operators.render.drawing import draw
from plantain.operators.render.layout import layout_for
from plantain.operators.render.looks import Look
from plantain.operators.render.pictures import picture_of
from plantain.operators.sinks.video import overlay
from tests.assets.clips import make
from tests.field.runs import rows, run
from tests.results import depth, result


@pytest.fixture
def encoders(monkeypatch) -> list[int]:
    """How many were open at once, at most."""
    monkeypatch.setattr(overlay, "MAX_ENCODERS", 2)
    most = [0]
    rest = overlay.OverlaySink._rest

    def count(sink: overlay.OverlaySink, stream_id: str) -> None:
        most[0] = max(most[0], len(sink._open))
        rest(sink, stream_id)

    monkeypatch.setattr(overlay.OverlaySink, "_rest", count)
    return most


@pytest.mark.parametrize(("clips", "frames"), [(20, 1), (6, 20)])
def test_no_more_encoders_are_open_than_are_allowed(
    tmp_path: Path, encoders, clips: int, frames: int
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(clips):
        make(tmp_path / "in" / f"c{number}.mp4", frames, size=(64, 48))
    out = tmp_path / "out"
    settings = {"read": {"workers": 12, "chunk_frames": 1}, "output": {"sinks": ["parquet", "overlay"]}}
    assert run([tmp_path / "in"], out, **settings).exit_code == 0
    assert len(rows(out)) == clips * frames
    assert encoders[0] == 2
    videos = sorted((out / "overlay").glob("*.mp4"))
    assert len(videos) == clips
    for video in videos:
        with av.open(str(video)) as container:
            shown = [frame.time for frame in container.decode(video=0)]
        assert len(shown) == frames
        assert shown == pytest.approx([number / 25 for number in range(frames)], abs=0.001)


@pytest.mark.parametrize(
    "size_hw", [(40, 1600), (24, 1000), (4, 2000), (1, 960), (1600, 40), (960, 1), (1, 1)]
)
@pytest.mark.parametrize("num_prompts", [1, 4])
def test_pictures_of_any_shape_are_drawn(size_hw: tuple[int, int], num_prompts: int) -> None:
    model_hw = (64, 64)
    fit = Letterbox.fit(size_hw, model_hw)
    grid = (fit.height, fit.width)
    values: dict = {Prompt.parse("depth"): depth(5.0, size_hw=grid)}
    if num_prompts > 1:
        none = Masks(np.zeros(grid, np.uint16), (), np.zeros(0, np.float32), 0.0)
        some = Masks(np.ones(grid, np.uint16), ("car",), np.ones(1, np.float32), 0.0)
        values |= {
            Prompt.parse("semantic:car,road"): some,
            Prompt.parse("instances:car"): none,
            Prompt.parse("depth[curve=street]"): depth(5.0, size_hw=grid),
        }
    made = result(0, values, size_hw=size_hw, model_hw=model_hw)
    layout = layout_for(made)
    assert draw(made, layout).shape == (layout.height, layout.width, 3)
    for look in (Look("clip", "", 5.0, 320), Look("clip", "depth", 5.0, 320)):
        assert picture_of(made, look).jpeg.startswith(b"\xff\xd8")


def test_a_wide_picture_is_stored_with_its_overlay(tmp_path: Path) -> None:
    clip = make(tmp_path / "wide.mp4", 2, size=(1600, 40))
    assert (
        run([clip], tmp_path / "out", prompts=["depth"], output={"sinks": ["parquet", "overlay"]}).exit_code
        == 0
    )
    assert len(rows(tmp_path / "out")) == 2
