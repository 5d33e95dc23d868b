"""A checkpoint that is run by Python code of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

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


def coded(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "banana.py").write_text(CODE)
    auto = {"AutoConfig": "banana.BananaConfig", "AutoModel": "banana.Banana"}
    (folder / "config.json").write_text(json.dumps({"model_type": "banana", "auto_map": auto}))
    (folder / "processor_config.json").write_text(
        json.dumps({"auto_map": {"AutoProcessor": "banana.BananaProcessor"}})
    )
    weights = {"bright.weight": torch.full((1, 1), 3.0), "bright.bias": torch.zeros(1)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module", autouse=True)
def own_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The library copies code into its cache: into one that goes. A module that imports it has it."""
    from transformers import dynamic_module_utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        patch.syspath_prepend(dynamic_module_utils.HF_MODULES_CACHE)
        yield
