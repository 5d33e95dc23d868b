"""Overlay videos of many clips: as many encoders as there are, not as many as there are clips."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from plantain.operators.sinks.video import overlay
from tests.assets.clips import make
from tests.field.runs import rows, run


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
