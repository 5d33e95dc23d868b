"""The examples in deploy/configs/ that name models elsewhere or together, run with other addresses and streams."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plantain.deploy.job import run_job
from plantain.operators.models import load_model, spec_of
from plantain.operators.prompts import Prompt, Task
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.pipeline.config import check, plain
from plantain.pipeline.engine.engine import Engine
from plantain.pipeline.engine.metrics import COST
from tests import checkpoints
from tests.hosted_frames import frame
from tests.hosted_servers import (
    KEY,
    KEY_ENV,
    Asked,
    Painting,
    Reply,
    chat,
    gemini,
    gemini_picture,
    images_edit,
    serving,
)

CONFIGS = Path(__file__).parents[2] / "deploy" / "configs"
CANVAS = {"width": 96, "height": 64}
STREET = "synthetic://street?seed=6&frames=10&width=96&height=64&stamp=1&fps=5"
DESCRIPTION = "the woman at the stop"


def speaking(prompts: list[Prompt]) -> Callable[[Asked], Reply]:
    """A server of all APIs, which draws these prompts."""
    painting = Painting([*prompts, Prompt.parse(f"refer:{DESCRIPTION}")])

    def speak(asked: Asked) -> Reply:
        if asked.path.endswith("/images/edits"):
            return images_edit(painting, asked)
        if asked.path.endswith("/chat/completions"):
            return chat("A", tops={"A": -0.01, "B": -5.0})
        if "-image:" in asked.path:
            return gemini_picture(painting, asked, promptTokenCount=600, candidatesTokenCount=1120)
        return gemini({"text": DESCRIPTION}, promptTokenCount=600, candidatesTokenCount=4)

    return speak


def moved(written: Any, url: str, folder: Path) -> Any:
    """A configuration with the test's server, key and files in the place of its own, and the fake model for ours."""
    if isinstance(written, list):
        return [moved(each, url, folder) for each in written]
    if written == "embedded":
        return "fake"
    if not isinstance(written, dict):
        return written
    told = {key: moved(value, url, folder) for key, value in written.items()}
    if "ledger" in told:
        told["ledger"] = str(folder / "ledger.txt")
    if told.get("name") in ("images-api", "chat", "gemini", "gemini-image"):
        base = url if str(told["name"]).startswith("gemini") else f"{url}/v1"
        told["options"] = {**told.get("options", {}), "base_url": base, "key_env": KEY_ENV}
    return told


@pytest.mark.parametrize("name", ["laptop", "own_server", "gemini", "keyframes"])
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    written = plain(CONFIGS / f"{name}.yaml")
    asked = [each if isinstance(each, str) else each["prompt"] for each in written["prompts"]]
    with serving(speaking([Prompt.parse(prompt) for prompt in asked])) as server:
        told = moved(written, server.url, tmp_path)
        told["streams"] = [{"url": STREET, "id": "street"}]
        told["output"]["out"] = str(tmp_path)
        for model in [told.get("model"), *told.get("models", {}).values()]:
            if model is not None:
                model["canvas"] = CANVAS
        engines: list[Engine] = []
        assert run_job(check(told), on_progress=engines.append).exit_code == 0
        requests = len(server.asked)
    rows = read_frames(tmp_path, ["prompt", "status", "cost_usd", "frame_index"])
    assert {*rows["prompt"]} == {str(Prompt.parse(prompt)) for prompt in asked}
    assert {*rows["status"]} == {"ok"}
    assert requests > 0
    samples = engines[-1].meter.samples(engines[-1], 0.0)
    metered = sum(float(each.value) for each in samples if each.metric is COST)  # type: ignore[arg-type]
    assert metered == pytest.approx(sum(rows["cost_usd"]))
    assert (metered > 0) == (name in ("gemini", "keyframes"))
    if name == "gemini":
        spent = [int(line.split()[1]) for line in (tmp_path / "ledger.txt").read_text().splitlines()]
        assert sum(spent) / 1e9 == pytest.approx(metered)
    if name == "keyframes":
        assert {*rows["frame_index"][rows["prompt"] == "depth"]} == {0}, "ten frames are two seconds"
        assert {*rows["frame_index"][rows["prompt"] == "instances:car"]} == {*range(10)}


def test_specialists_answer_side_by_side(tmp_path: Path) -> None:
    """Tiny checkpoints of the three architectures in the places of the published ones."""
    routes = {
        "depth": ("depth-anything-v2-outdoor", checkpoints.depth_anything(tmp_path / "depth")),
        "normals": ("tipsv2", checkpoints.tips(tmp_path / "tips")),
        "instances": ("sam3", checkpoints.sam3(tmp_path / "sam3")),
        "refer": ("sam3", tmp_path / "sam3"),
    }
    options = {
        "tasks": ["depth", "normals", "instances", "refer"],
        "routes": {
            task: {"name": name, "options": {"checkpoint": str(folder)}}
            for task, (name, folder) in routes.items()
        },
    }
    assert {*spec_of("specialists", options).tasks} >= {Task.DEPTH, Task.NORMALS, Task.INSTANCES, Task.REFER}
    prompts = [Prompt.parse(text) for text in ("depth", "normals", "instances:car", "refer:a car")]
    model = load_model("specialists", options)
    try:
        answers = model.answer([frame(0), frame(1)], [0, 0, 1, 1], prompts)
    finally:
        model.close()
    assert [answer.model for answer in answers] == ["depth-anything-v2-outdoor", "tipsv2", "sam3", "sam3"]
    for prompt, answer, (name, folder) in zip(prompts, answers, routes.values(), strict=True):
        alone = load_model(name, {"checkpoint": str(folder)})
        (expected,) = alone.answer([frame(0 if prompt in prompts[:2] else 1)], [0], [prompt])
        alone.close()
        assert answer.fingerprint == alone.fingerprint
        assert type(answer.value) is type(expected.value)


def test_specialists_name_models_that_there_are() -> None:
    spec = spec_of("specialists", {})
    assert {*spec.tasks} >= {Task.DEPTH, Task.NORMALS, Task.SEMANTIC, Task.INSTANCES, Task.REFER, Task.DETECT}
    assert spec_of("specialists", {"tasks": ["depth"]}).tasks == (Task.DEPTH,)
    assert "SAM License" in spec.licence
