"""Backends whose checkpoints come from a hub: what is fetched, that they answer as their folders do, and are pinned."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests import checkpoints
from tests.hub_server import COMMIT, OLDER, hub

OPTIONS = {
    "grounding-dino-sam2": {"checkpoint": "dino", "masks": "sam"},
    "klein": {"checkpoint": "klein", "lora": "lora"},
    "sam2-video": {"checkpoint": "sam-video", "finder": "owl"},
}
"""Repositories that the options of some backends name."""

# In a fresh process, which reads the hub's address as it starts.
USE = """
import json, sys
import pytest, torch
from plantain.operators.errors import ModelUnavailableError
from plantain.operators.models import load_model
from plantain.operators.prompts import Prompt
from tests.checkpoints.backends import CASES
from tests.contract.test_model_backends import FRAMES, asked, assert_same

torch.set_num_threads(1)
root, commit, older, all_of_them = *sys.argv[1:4], json.loads(sys.argv[4])
for name, options in all_of_them.items():
    case = CASES[name]
    prompts = [Prompt.parse(each) for each in case.prompts]

    def made(before, after="", **other):
        named = {option: before + repository + after for option, repository in options.items()}
        return load_model(case.backend, {**case.options, **named, **other})

    local, newest, pinned = made(root + "/"), made("someone/"), made("someone/", "@" + commit)
    for k, (one, other) in enumerate(zip(*(asked(each, FRAMES[:1], prompts) for each in (local, pinned)), strict=True)):
        assert_same(one, other, prompts[k])
    assert newest.fingerprint == pinned.fingerprint
    for option, repository in options.items():
        before = made("someone/", "@" + commit, **{option: f"someone/{repository}@{older}"})
        assert before.fingerprint != pinned.fingerprint, option
        with pytest.raises(ModelUnavailableError, match=f"someone/{repository} has no revision 'v9'"):
            made("someone/", "@" + commit, **{option: f"someone/{repository}@v9"})
"""


@pytest.mark.timeout(900)  # a dozen processes that load torch
def test_what_is_loaded_is_fetched_pinned_and_answers_as_its_folder_does(tmp_path: Path) -> None:
    folders = {
        "dino": checkpoints.grounding_dino,
        "sam": checkpoints.sam2,
        "klein": checkpoints.klein,
        "sam-video": checkpoints.sam2_video,
        "owl": checkpoints.owlv2,
    }
    for name, make in folders.items():
        torch.manual_seed(0)
        make(tmp_path / name)
    name = "transformer.transformer_blocks.0.attn.to_q"
    for folder, strength in (("lora", 1.0), ("lora-before", 2.0)):
        (tmp_path / folder).mkdir()
        weights = {
            f"{name}.lora_A.weight": torch.ones(2, 32),
            f"{name}.lora_B.weight": torch.full((32, 2), strength),
        }
        save_file(weights, tmp_path / folder / "pytorch_lora_weights.safetensors")
    copies = copied(
        tmp_path / "klein" / "vae" / "diffusion_pytorch_model.safetensors", "fp16", tmp_path / "klein"
    )
    copies |= copied(
        tmp_path / "owl" / "model.safetensors", "fp16-00001-of-00001", tmp_path / "owl" / "original"
    )
    repositories = {f"someone/{each.name}": each for each in tmp_path.iterdir()}
    with hub(repositories, {"someone/lora": tmp_path / "lora-before"}) as endpoint:
        done = subprocess.run(
            [sys.executable, "-c", USE, str(tmp_path), COMMIT, OLDER, json.dumps(OPTIONS)],
            env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    here = {path.name for path in (tmp_path / "cache").rglob("*.safetensors")}
    assert not here & copies
    assert {
        "diffusion_pytorch_model.safetensors",
        "model.safetensors",
        "pytorch_lora_weights.safetensors",
    } <= here


def copied(weights: Path, variant: str, folder: Path) -> set[str]:
    """Copies of weights in another precision beside them, and of all in one file in a folder; what they are called."""
    folder.mkdir(exist_ok=True)
    rough = weights.with_name(f"{weights.stem}.{variant}.safetensors")
    one = folder / f"all-{weights.name}"
    shutil.copy(weights, rough)
    shutil.copy(weights, one)
    return {rough.name, one.name}
