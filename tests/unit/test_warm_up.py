"""A model that is slow at first draws something before any frame waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from plantain.operators.errors import ModelError
from plantain.operators.models.base import ModelSpec, Pixels
from plantain.operators.prompts import Prompt, Task
from plantain.pipeline.config import PipelineConfig, check
from plantain.pipeline.graph import Stage
from plantain.pipeline.video import build_graph

drawn: list[tuple[str, int, tuple[str, ...]]] = []
"""What the models were asked, in order: which one, of how many pictures, which prompts."""


class Slow:
    """A backend that notes what it draws.

    Args:
        name: In the notes.
    """

    spec = ModelSpec(model_hw=(32, 64), warms_up=True)
    fingerprint = "none"

    def __init__(self, name: str = "first") -> None:
        self.name = name

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        assert len(image_of) == len(prompts)
        drawn.append((self.name, len(images), tuple(dict.fromkeys(str(prompt) for prompt in prompts))))
        return np.zeros((len(prompts), *images.shape[1:]), np.uint8)

    def close(self) -> None:
        drawn.append((self.name, 0, ("closed",)))


class Choosy(Slow):
    """One that cannot draw pictures of its own."""

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        if any(prompt.task is Task.GENERATE for prompt in prompts):
            raise ModelError("it cannot draw that")
        return super().render(images, image_of, prompts)


class Dear(Slow):
    """One whose drawings have a price."""

    spec = ModelSpec(model_hw=(32, 64))


CAMERA = "rtsp://127.0.0.1:9/gate"


@pytest.fixture(autouse=True)
def _nothing_drawn_yet() -> None:
    drawn.clear()


def config(
    tmp_path: Path, model: type[Slow], *prompts: str, max_items: int = 8, url: str = CAMERA
) -> PipelineConfig:
    settings = {
        "streams": [{"url": url}] if prompts else [],
        "prompts": list(prompts),
        "model": {"name": f"{__name__}:{model.__name__}"},
        "batch": {"max_items": max_items},
        "output": {"out": str(tmp_path)},
    }
    return check(settings, may_be_idle=True)


def infer(made: PipelineConfig) -> Stage:
    return build_graph(made).stage("infer")


def test_each_copy_draws_batches_of_all_sizes_with_one_prompt_of_each_kind(tmp_path: Path) -> None:
    infer(config(tmp_path, Slow, "depth", "semantic:car,person", "instances:car", "instances:bus")).make()
    kinds = ("depth", "semantic:car,person", "instances:bus")
    assert drawn == [("first", size, kinds) for size in (1, 2, 4, 8)]


def test_batches_are_no_larger_than_those_to_come(tmp_path: Path) -> None:
    infer(config(tmp_path, Slow, "depth", max_items=3)).make()
    assert [size for _, size, _ in drawn] == [1, 2]


def test_a_service_without_streams_tries_what_is_likely(tmp_path: Path) -> None:
    infer(config(tmp_path, Slow)).make()
    assert drawn[0] == ("first", 1, ("depth", "semantic:car"))


def test_swapped_weights_have_drawn_before_the_old_ones_go(tmp_path: Path) -> None:
    operator = infer(config(tmp_path, Slow, "depth", max_items=2)).make()
    drawn.clear()
    operator.swap({"name": "second"})
    assert drawn == [("second", 1, ("depth",)), ("second", 2, ("depth",)), ("first", 0, ("closed",))]


def test_a_prompt_that_cannot_be_drawn_fails_with_its_frames_and_not_the_model(tmp_path: Path) -> None:
    infer(config(tmp_path, Choosy, "depth", "generate:a street")).make()


def test_what_costs_money_is_not_drawn_for_nothing(tmp_path: Path) -> None:
    infer(config(tmp_path, Dear, "depth")).make()
    assert drawn == []


def test_a_file_waits_for_its_first_batch_and_for_nothing_else(tmp_path: Path) -> None:
    """Drawings that nobody asked for were half of what a short clip took."""
    infer(config(tmp_path, Slow, "depth", url="synthetic://street?seed=1&frames=2")).make()
    assert drawn == []
