"""The commands `plantain models`: what is listed, fetched and checked."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from plantain.deploy.cli import models
from plantain.operators.models.loading import Checkpoint
from tests.checkpoints import segformer


def test_models_lists_backends_as_text_and_as_json(plantain):
    names = [row["name"] for row in json.loads(plantain("models", "--json").out)]
    assert {"embedded", "fake"} <= {*names}
    assert all(name in plantain("models").out for name in names)


def test_models_are_listed_with_what_they_ask_for(plantain):
    rows = {row["name"]: row for row in json.loads(plantain("models", "--json").out)}
    assert rows["sam3"] | {"obstacles": []} == {
        "name": "sam3",
        "summary": "SAM 3 on pictures: everything that a phrase means, each apart, with scores",
        "tasks": ["semantic", "instances", "refer", "detect"],
        "licence": "SAM License (no military use)",
        "commercial": "yes",
        "size": "840 M",
        "source": "facebook/sam3",
        "members": [],
        "needs": ["torch", "transformers", "torchvision", "huggingface_hub"],
        "device": "GPU",
        "shown": "real architecture, tiny weights",
        "usable": True,
        "missing": [],
        "obstacles": [],
    }
    assert rows["depth-pro"]["commercial"] == "no"


def test_a_model_that_is_made_of_others_asks_for_what_they_ask_for(plantain, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("plantain.operators.models.here.has_gpu", lambda: False)
    rows = {row["name"]: row for row in json.loads(plantain("models", "--json").out)}
    assert rows["specialists"]["members"] == ["depth-anything-v2-outdoor", "tipsv2", "sam3"]
    assert "no GPU: minutes a picture" in rows["specialists"]["obstacles"]
    for name, sources in {
        "specialists": [
            "depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf",
            "google/tipsv2",
            "facebook/sam3",
        ],
        "sam2-video": ["facebook/sam2.1-hiera-tiny", "IDEA-Research/grounding-dino-tiny"],
        "edgetam-video": ["yonigozlan/EdgeTAM-hf", "IDEA-Research/grounding-dino-tiny"],
    }.items():
        answer = plantain("models", "check", name, "--json")
        assert answer.code == 1
        said = [row["detail"] for row in json.loads(answer.out) if row["what"] == "weights"]
        assert len(said) == len(sources)
        assert all(source in each for source, each in zip(sources, said, strict=True))


def found_by(monkeypatch, config):
    """What is asked for where every repository holds this configuration: its name, revision, and whether with code."""
    asked = []

    def located(source, revision, *, has_code=False):
        asked.append((source, revision, has_code))
        return Checkpoint(source, Path("/none"), "", config)

    monkeypatch.setattr("plantain.operators.models.loading.located", located)
    return asked


def test_all_that_a_model_is_made_of_is_fetched(plantain, monkeypatch):
    asked = found_by(monkeypatch, {})
    assert plantain("models", "fetch", "sam2-video", "--revision", "v1").code == 0
    assert asked == [
        ("facebook/sam2.1-hiera-tiny", "v1", False),
        ("IDEA-Research/grounding-dino-tiny", "", False),
    ]


def test_code_that_a_checkpoint_is_run_by_is_fetched_with_it(plantain, monkeypatch):
    asked = found_by(monkeypatch, {"auto_map": {"AutoModel": "code.Model"}})
    assert plantain("models", "fetch", "someone/coded").code == 0
    assert asked == [("someone/coded", "", False), ("someone/coded", "", True)]


def test_a_model_that_cannot_run_here_says_what_is_missing(plantain, monkeypatch):
    here = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "transformers" else here(name, *more)
    )
    (row,) = (row for row in json.loads(plantain("models", "--json").out) if row["name"] == "clipseg")
    assert row["obstacles"] == ["lacks transformers"]
    assert "lacks transformers: pip install '.[models]'" in plantain("models").out
    answer = plantain("run", "synthetic://street?frames=1", "--task", "depth", "--model", "zoedepth")
    assert answer.code == 2
    assert "model 'zoedepth' needs transformers: pip install '.[models]'" in answer.err


def test_what_is_installed_apart_is_said_with_the_whole_line(plantain, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    here, lacking = importlib.util.find_spec, {"moge"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name in lacking else here(name, *more)
    )
    apart = "pip install --no-deps dlr-moge==2.0.0 dlr-utils3d==1.3"
    assert f"lacks moge: {apart}\n" in plantain("models").out.replace("; no GPU: minutes a picture", "")
    assert f"moge missing: {apart}\n" in plantain("models", "check", "moge-2").out
    answer = plantain("run", "synthetic://street?frames=1", "--task", "depth", "--model", "moge-2")
    assert answer.code == 2
    assert f"model 'moge-2' needs moge: {apart}" in answer.err
    lacking.add("huggingface_hub")
    assert (
        f"moge missing: pip install '.[models,vision]' && {apart}\n"
        in plantain("models", "check", "moge-2").out
    )


def test_whether_a_model_would_run_here_is_checked_item_by_item(plantain, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    answer = plantain("models", "check", "clipseg", "--json")
    assert answer.code == 1
    rows = {row["what"]: row for row in json.loads(answer.out)}
    assert list(rows)[:6] == ["extras", "licence", "weights", "disk", "memory", "device"]
    assert [what for what, row in rows.items() if not row["is_fine"]] == ["weights"]
    assert "run 'plantain models fetch CIDAS/clipseg-rd64-refined'" in rows["weights"]["detail"]
    assert plantain("models", "check", "embedded").code == 0
    assert plantain("models", "check", "nothing").code == 2


class Gpu:
    """A GPU of 24 GB.

    Args:
        free_gb: What of it is free.
    """

    def __init__(self, free_gb: float) -> None:
        self._free_gb = free_gb

    def memory_gb(self) -> tuple[float, float]:
        return self._free_gb, 24.0


class NoGpu:
    def memory_gb(self) -> None:
        return None


def test_the_memory_of_a_gpu_is_looked_at_where_there_is_one(plantain, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def checked(name, gpu):
        monkeypatch.setattr(models, "gpu", gpu)
        rows = json.loads(plantain("models", "check", name, "--json").out)
        return {row["what"]: (row["is_fine"], row["detail"]) for row in rows}

    found = checked("klein", Gpu(3.0))
    assert found["device"] == (True, "a GPU is here")
    assert found["gpu"] == (False, "about 24.0 GB for one copy, 3 of 24 GB free on the GPU")
    assert checked("sam3", Gpu(23.0))["gpu"] == (
        True,
        "about 5.0 GB for one copy, 23 of 24 GB free on the GPU",
    )
    monkeypatch.setattr(models, "has_gpu", lambda: False)
    assert "gpu" not in checked("klein", NoGpu())
    assert checked("klein", NoGpu())["device"] == (False, "takes a GPU; no GPU here")
    monkeypatch.setattr(models, "has_gpu", lambda: True)
    assert checked("klein", NoGpu())["device"] == (False, "takes a GPU; a GPU is here that torch cannot use")


def test_a_licence_that_must_be_accepted_is_said(plantain, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    said = plantain("models", "check", "sam3").out
    assert (
        "commercial use: yes; gated: accept its terms at huggingface.co/facebook/sam3, and give the" in said
    )
    assert "gated" not in plantain("models", "check", "clipseg").out


def test_listing_takes_less_than_a_second_and_little_more_than_help():
    """Of the processor, least of three: neither loads a library that computes (test_imports)."""

    def least_s(*arguments):
        spent = []
        for _ in range(3):
            before = os.times()
            subprocess.run(
                [sys.executable, "-m", "plantain.deploy.cli", *arguments], capture_output=True, check=True
            )
            after = os.times()
            spent.append(
                after.children_user + after.children_system - before.children_user - before.children_system
            )
        return min(spent)

    listing_s = least_s("models")
    assert listing_s < 1.0, "measured on 30 November 2026: 0.4"
    assert listing_s < 2 * least_s("--help")


def test_a_checkpoint_of_ones_own_is_fetched_and_checked_by_its_folder(plantain, tmp_path):
    folder = segformer(tmp_path / "roads")
    assert f"{folder} is here and whole: 0.00 GB in {folder}" in plantain("models", "fetch", folder).out
    answer = plantain("models", "check", folder)
    assert answer.code == 0, answer.out
    answer = plantain("models", "fetch", "embedded")
    assert answer.code == 2
    assert "model 'embedded' has nothing to fetch" in answer.err
