"""Models that bring their own Python code: run only if that is said, called as such models are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from plantain.operators.errors import ModelError, ModelUnavailableError, UsageError
from plantain.operators.models import load_model
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure
from tests import checkpoints
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here
from tests.contract.test_model_backends import frame

CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ModelOutput


class BananaConfig(PretrainedConfig):
    model_type = "banana"


class Banana(PreTrainedModel):
    config_class = BananaConfig

    def __init__(self, config):
        super().__init__(config)
        self.bright = torch.nn.Linear(1, 1)
        self.post_init()

    def forward(self, pixel_values, text=None, task=None):
        gray = pixel_values.mean(1)
        if task is not None:
            values = {"depth": gray * 10 + self.bright.weight[0, 0], "semantic": (gray > 0.5).long() * 2}
            values["normals"] = torch.stack([gray * 0, gray * 0, gray * 0 + 1], -1)
            return ModelOutput(predictions=[values[each][k] for k, each in enumerate(task)])
        if any("surface" in each for each in text):
            return ModelOutput(logits=gray)
        drawn = torch.zeros(*gray.shape, 3)
        drawn[..., 0] = (gray > 0.5).float()
        return ModelOutput(images=drawn[:, ::2, ::2])


class BananaProcessor:
    @classmethod
    def from_pretrained(cls, folder, **_):
        return cls()

    @classmethod
    def register_for_auto_class(cls, *_):
        pass

    def __call__(self, images, return_tensors, **words):
        import numpy as np

        pixels = torch.stack([torch.from_numpy(np.array(each)) for each in images]).permute(0, 3, 1, 2) / 255
        return {"pixel_values": pixels, **words}
"""
RED = "semantic[background=#000000]:bright=#ff0000"


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory) -> Any:
    """The library copies code into its cache: into one that goes."""
    from transformers import dynamic_module_utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        patch.syspath_prepend(dynamic_module_utils.HF_MODULES_CACHE)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("remote") / "banana"
    path.mkdir()
    (path / "banana.py").write_text(CODE)
    auto = {"AutoConfig": "banana.BananaConfig", "AutoModel": "banana.Banana"}
    (path / "config.json").write_text(json.dumps({"model_type": "banana", "auto_map": auto}))
    (path / "processor_config.json").write_text(
        json.dumps({"auto_map": {"AutoProcessor": "banana.BananaProcessor"}})
    )
    weights = {"bright.weight": torch.full((1, 1), 3.0), "bright.bias": torch.zeros(1)}
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    return path


def model(folder: Path, **options: Any) -> Any:
    return load_model("remote-code", {"checkpoint": str(folder), "trust_remote_code": True, **options})


def test_its_drawings_are_decoded(folder: Path) -> None:
    made, shown = model(folder, at_once=2), [frame(0), frame(1)]
    prompts = [Prompt.parse(RED)] * 2
    answers = made.answer(shown, [0, 1], prompts)
    for each, answer in zip(shown, answers, strict=True):
        picture = each.info.fit.crop(each.image).mean(axis=2)
        assert answer.value.labels.shape == picture.shape
        assert answer.value.names == ("bright",)
        assert ((answer.value.labels > 0) == (picture > 127.5)).mean() > 0.9
    assert isinstance(made.answer(shown, [0], [Prompt.parse("depth")])[0].value.off_palette, float)


def test_its_predictions_are_values(folder: Path) -> None:
    made = model(folder, asks="task")
    shown = frame(0)
    picture = shown.info.fit.crop(shown.image).mean(axis=2) / 255
    prompts = [Prompt.parse(each) for each in ("depth", "semantic:dark,bright", "normals")]
    depth, classes, normals = (each.value for each in made.answer([shown], [0, 0, 0], prompts))
    np.testing.assert_allclose(depth.depth_m, picture * 10 + 3, atol=1e-4)
    assert classes.names == ("bright",)
    np.testing.assert_array_equal(classes.labels > 0, picture > 0.5)
    assert (normals.normals[..., 2] == 1).all()


def test_code_is_run_only_if_it_is_trusted_and_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="trust_remote_code: true"):
        model(folder, trust_remote_code=False)
    with pytest.raises(ModelUnavailableError, match="brings no model in Python code of its own"):
        model(checkpoints.segformer(tmp_path / "segformer"))
    with pytest.raises(UsageError, match="asks is 'words': use text or task"):
        model(folder, asks="words")


def test_code_that_is_called_otherwise_is_named_and_other_code_is_another_model(
    folder: Path, tmp_path: Path
) -> None:
    made = model(folder)
    with pytest.raises(ModelError, match="neither images nor predictions"):
        made.answer([frame(0)], [0], [Prompt.parse("normals")])
    (answer,) = model(folder, asks="task").answer([frame(0)], [0], [Prompt.parse("depth")])
    assert not isinstance(answer.value, Failure)
    before = made.fingerprint
    (folder / "more.py").write_text("# more\n")
    assert model(folder).fingerprint != before
