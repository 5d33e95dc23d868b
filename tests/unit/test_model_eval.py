"""`plantain eval` of models that answer, here and on servers: what is measured, what it costs, and when it stops."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from plantain.deploy.cli.app import app
from plantain.operators.errors import ModelError, UsageError
from plantain.operators.models.base import Answer, ModelSpec
from plantain.operators.models.fake import FakeModel
from plantain.operators.models.plantain.evaluation.evaluate import evaluate
from plantain.operators.prompts import Prompt, Task
from plantain.operators.scenes import Scene, stamp
from plantain.operators.sources.clip import write_clip
from plantain.operators.types import Failure, Frame
from tests.hosted_servers import Asked, Reply, serving

SIZE = (64, 96)


class Specialist:
    """Answers depth and classes without drawing, and refuses one of the questions."""

    name, fingerprint, reads_stamps = "specialist", "s-1", True
    spec: ClassVar[ModelSpec] = ModelSpec(tasks=(Task.DEPTH, Task.SEMANTIC, Task.INSTANCES), model_hw=SIZE)

    def __init__(self, refuses: str = "", split: str = "heldout") -> None:
        self._true, self._refuses = FakeModel(split=split), refuses  # type: ignore[arg-type]  # one of two words

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        assert all(prompt.task in self.spec.tasks for prompt in prompts)
        answers = self._true.answer(frames, image_of, prompts)
        refusal = Answer(Failure("infer", "it was taught no such thing", retryable=False), cost_usd=0.25)
        return [
            refusal if self._refuses and prompt.task == self._refuses else replace(answer, cost_usd=0.25)
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def close(self) -> None:
        pass


def plantain(*words: str) -> Result:
    return CliRunner().invoke(app, ["eval", "--model", f"{__name__}:Specialist", *words])


def test_a_model_is_measured_on_what_it_answers_and_its_price_is_told() -> None:
    result = plantain("--scenes", "2", "--model-option", "refuses=depth")
    assert result.exit_code == 0, result.output
    assert "on 2 held-out scenes" in result.output
    assert "semantic mIoU" in result.output
    assert "AbsRel" not in result.output, "refused"
    assert "normals" not in result.output, "not asked"
    assert "cost 4.0000 USD" in result.output, "eight questions about each"
    assert "2 of 16 questions without an answer: it was taught no such thing" in result.output
    figures = json.loads(plantain("--scenes", "1", "--json").stdout)
    assert figures["miou"] > 0.99
    assert (figures["num_scenes"], figures["num_asked"], figures["stopped"]) == (1, 8, "")


def test_of_one_that_detects_boxes_are_measured() -> None:
    figures = evaluate(FakeModel(split="heldout"), num_scenes=2, size_hw=(128, 192), tasks=(Task.DETECT,))
    assert figures["box_f1"] > 0.9
    assert np.isnan(figures["pmf1"])


def test_one_that_answers_nothing_that_is_measured_is_named() -> None:
    with pytest.raises(UsageError, match="model fake answers ask, of which nothing here is measured"):
        evaluate(FakeModel(), num_scenes=1, tasks=(Task.ASK,))
    with pytest.raises(ModelError, match="model specialist answered nothing: it was taught no such thing"):
        evaluate(Specialist("depth"), num_scenes=1, size_hw=SIZE, tasks=(Task.DEPTH,))


def test_a_hosted_one_is_asked_no_more_than_its_budget_allows() -> None:
    def black(asked: Asked) -> Reply:
        with Image.open(io.BytesIO(asked.fields["image"])) as picture:
            size = picture.size
        packed = io.BytesIO()
        Image.new("RGB", size).save(packed, "PNG")
        return Reply({"data": [{"b64_json": base64.b64encode(packed.getvalue()).decode()}]})

    with serving(black) as server:
        told = {"base_url": f"{server.url}/v1", "usd_per_answer": 0.01, "max_usd_per_hour": 0.2}
        words = [f"--model-option={name}={value}" for name, value in (told | {"patience_s": 0}).items()]
        result = CliRunner().invoke(app, ["eval", "--model", "images-api", "--scenes", "9", *words, "--json"])
        assert result.exit_code == 0, result.output
        figures: dict[str, Any] = json.loads(result.stdout)
        assert len(server.asked) == 20
    assert figures["num_scenes"] == 1, "the second one was not answered in full"
    assert figures["cost_usd"] == pytest.approx(0.2)
    assert figures["stopped"].startswith("the budget of 0.2 USD an hour is spent")
    assert figures["il_mcc"] is None


def test_clips_are_looked_at_by_one_that_does_not_draw(tmp_path: Path) -> None:
    scene = Scene(3, size_hw=SIZE)
    write_clip(tmp_path / "pole.mp4", (stamp(scene.render(k / 25).image, 3, k) for k in range(4)))
    result = plantain(
        "--clips", str(tmp_path), "--out", str(tmp_path / "out"), "--json", "--model-option", "split=train"
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert {"class_flicker", "depth_flicker"} <= set(told["clips"]["pole"])
    assert "colour_switches" not in told["clips"]["pole"], "it has no colours"
    assert "normals_flicker_deg" not in told["clips"]["pole"]
    assert told["cost_usd"] == pytest.approx(0.25 * 4 * 4)
    assert (tmp_path / "out" / "footage.html").read_text(encoding="utf-8").count("<figure") == 5
