"""Cameras of users' own kinds: what they give, how they fail, and a run that watches one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import plantain
from plantain.operators.errors import SourceError
from plantain.operators.segments import Position
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Frame
from tests.assets.clips import numbered
from tests.serving import eventually

VIEW = View((48, 64), "letterbox")
OPTIONS = {"backoff_s": "0.05", "patience_s": "0.05", "timeout_s": "0.3", "policy": "block"}


def hang(camera: Scripted) -> None:
    camera._stop.wait()


class Scripted(plantain.PictureSource):
    """Each connection plays the next part of a script: pictures, None, an error to raise, or something to do."""

    script: list[list[Any]]
    attempts: int

    def pictures(self, spec: StreamSpec) -> Iterator[np.ndarray | None]:
        cls = type(self)
        number, cls.attempts = cls.attempts, cls.attempts + 1
        for step in cls.script[number] if number < len(cls.script) else [hang]:
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step(self)
            else:
                yield step


def open_on(*script: list[Any], **options: str) -> Scripted:
    made = type("Camera", (Scripted,), {"script": list(script), "attempts": 0})
    return made(StreamSpec("gate", "mine://7", options={**OPTIONS, **options}), VIEW, Position())


def read(source: Scripted, num: int) -> list[Frame]:
    frames: list[Frame] = []

    def is_enough() -> bool:
        frames.extend(source.read(10))
        return len(frames) >= num

    eventually(is_enough, f"{num} frames")
    return frames


def shots(first: int, last: int) -> list[np.ndarray]:
    return [numbered(k, 64, 48) for k in range(first, last)]


def test_its_pictures_are_frames_of_one_epoch_each_connection() -> None:
    source = open_on([*shots(0, 3)], [None, *shots(3, 5)], epoch="4")
    try:
        frames = read(source, 5)
        assert [(each.header.epoch, each.header.frame_index) for each in frames] == [
            (4, 0), (4, 1), (4, 2), (5, 3), (5, 4),
        ]  # fmt: skip
        for k, frame in enumerate(frames):
            assert np.array_equal(frame.image, numbered(k, 64, 48))
            assert frame.info.captured_by == "arrival"
            assert abs(frame.info.captured_ns - time.time_ns()) < 60e9
        for part in (frames[:3], frames[3:]):
            times = [each.info.time_s for each in part]
            assert times == sorted(times)
        assert (source.info.width, source.info.height, source.is_live) == (64, 48, True)
        states = [event.state for event in source.events()]
        assert states[:3] == ["connecting", "live", "lost"]
    finally:
        source.close()


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (PermissionError("secret"), "unauthorised"),
        (FileNotFoundError("secret"), "not_found"),
        (TimeoutError("secret"), "silent"),
        (ConnectionRefusedError("secret"), "refused"),
        (ConnectionResetError("secret"), "lost"),
        (OSError(5, "secret"), "refused"),
        (ValueError("secret"), "no_video"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_a_camera_that_is_away_is_told_by_what_it_raises_and_tried_again(
    error: Exception, state: str
) -> None:
    source = open_on([error], [error], shots(0, 1))
    try:
        read(source, 1)
        events = source.events()
        assert [event.state for event in events][:3] == ["connecting", state, "live"]
        assert not any("secret" in event.sentence for event in events)
    finally:
        source.close()


@pytest.mark.parametrize("at", ["connecting", "live"])
def test_one_that_hangs_is_silent_wherever_it_hangs(at: str) -> None:
    source = open_on([*shots(0, 1 if at == "live" else 0), hang])
    try:
        eventually(lambda: source.state == "silent", "silent")
    finally:
        source.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((4, 4), np.uint8), "(4, 4) uint8"),
        (np.zeros((4, 4, 3), np.float32), "(4, 4, 3) float32"),
        (np.zeros((0, 4, 3), np.uint8), "(0, 4, 3) uint8"),
        ("no picture", "() <U10"),
        (SourceError("the library of the maker is not installed"), "library of the maker"),
    ],
    ids=["grey", "float", "empty", "text", "error"],
)
@pytest.mark.parametrize("before", [0, 2])
def test_what_no_further_attempt_mends_fails_the_stream_in_one_sentence(
    given: Any, said: str, before: int
) -> None:
    source = open_on([*shots(0, before), given])

    def told() -> str:
        try:
            source.read(10)
        except SourceError as error:
            return str(error)
        return ""

    try:
        assert said in eventually(told, "told")
        assert source.state == "failed"
        assert type(source).attempts == 1
    finally:
        source.close()


def test_its_generator_is_closed_when_the_stream_ends() -> None:
    closed = threading.Event()

    class Closing(Scripted):
        script, attempts = [], 0  # type: ignore[misc,assignment]

        def pictures(self, spec: StreamSpec) -> Iterator[np.ndarray | None]:
            try:
                while True:
                    yield numbered(1, 64, 48)
                    time.sleep(0.01)
            finally:
                closed.set()

    source = Closing(StreamSpec("gate", "mine://7", options=OPTIONS | {"policy": "latest"}), VIEW, Position())
    read(source, 2)
    source.close()
    assert closed.wait(10)
