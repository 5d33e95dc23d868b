"""Checkpoints of networks whose packages are installed apart, in the form in which those are published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoints.making import widened

DA3_SMALL = {
    "__object__": {"path": "depth_anything_3.model.da3", "name": "DepthAnything3Net", "args": "as_params"},
    "net": {
        "__object__": {"path": "depth_anything_3.model.dinov2.dinov2", "name": "DinoV2", "args": "as_params"},
        "name": "vits",  # the least that there is
        "out_layers": [2, 5, 8, 11],
        "alt_start": -1,
        "qknorm_start": -1,
        "rope_start": -1,
        "cat_token": False,
    },
    "head": {
        "__object__": {"path": "depth_anything_3.model.dpt", "name": "DPT", "args": "as_params"},
        "dim_in": 384,
        "output_dim": 1,
        "features": 16,
        "out_channels": [8, 8, 16, 16],
    },
}
"""As the library's own `da3metric-large`, but for the sizes."""


def depth_anything_3(folder: Path) -> Path:
    """Needs `small_da3`."""
    from safetensors.torch import save_file

    from plantain.operators.models.specialists.depth_anything_3 import network_of_its_name

    network = widened(network_of_its_name(), std=0.15)
    drawn = network.head.scratch
    with torch.no_grad():  # which are large: metres of about 1 to 10, and some of it sky
        for each, share, shift in (
            (drawn.output_conv2[-1], 0.2, 2.5),
            (drawn.sky_output_conv2[-1], 0.02, 0.5),
        ):
            each.weight *= share
            each.bias.fill_(shift)
    folder.mkdir(parents=True)
    weights = {f"model.{name}": each.contiguous() for name, each in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_name": "da3metric-large"}))
    return folder


@pytest.fixture(scope="module", autouse=True)
def small_da3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The library's only metric network has 334 million weights; here one as small as it can be goes by its name.

    A module that imports it has it.
    """
    from depth_anything_3.registry import MODEL_REGISTRY

    path = tmp_path_factory.mktemp("da3") / "da3metric-small.yaml"
    path.write_text(json.dumps(DA3_SMALL))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODEL_REGISTRY, "da3metric-large", str(path))
        yield


def moge_config(backbone: str, layers: list[int], width: int, widths: list[int]) -> dict[str, Any]:
    """What a checkpoint of MoGe-2 says of its network.

    Args:
        backbone: Of DINOv2.
        layers: Of that, which are looked at.
        width: Of that.
        widths: Of the decoder at its five sizes.
    """
    stack = {
        "dim_res_blocks": widths,
        "res_block_in_norm": "none",
        "res_block_hidden_norm": "none",
        "resamplers": ["conv_transpose", "conv_transpose", "conv_transpose", "bilinear"],
    }
    head = {**stack, "dim_in": widths, "num_res_blocks": [0, 1, 1, 1, 0]}
    return {
        "encoder": {"backbone": backbone, "intermediate_layers": layers, "dim_out": widths[0]},
        "neck": {
            **stack,
            "dim_in": [widths[0] + 2, 2, 2, 2, 2],
            "dim_out": None,
            "num_res_blocks": [0, 2, 2, 2, 0],
        },
        **{
            f"{name}_head": {**head, "dim_out": [None, None, None, None, channels]}
            for name, channels in (("points", 3), ("normal", 3), ("mask", 1))
        },
        "scale_head": {"dims": [width, widths[0], widths[0], 1]},
        "remap_output": "exp",
        "num_tokens_range": [1200, 3600],
    }


def moge_small() -> dict[str, Any]:
    """Of the least backbone, and with few patches."""
    config = moge_config("dinov2_vits14", [2, 5, 8, 11], 384, [16, 8, 8, 8, 8])
    return {**config, "num_tokens_range": [12, 40]}


def moge(folder: Path, config: dict[str, Any] | None = None) -> Path:
    from moge.model.v2 import MoGeModel

    config = config or moge_small()
    folder.mkdir(parents=True)
    network = widened(MoGeModel(**config), std=0.15)
    if hasattr(network, "points_head"):
        _see_as_a_camera(network)
    torch.save({"model_config": config, "model": network.state_dict()}, folder / "model.pt")
    return folder


def _see_as_a_camera(network: Any) -> None:
    """Points lie nearly along the rays of a lens: of random ones none can be recovered."""
    from moge.utils.geometry_torch import normalized_view_plane_uv

    last, seen = network.points_head.output_blocks[-1], list[torch.Tensor]()
    hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        squares = torch.rand((8, 3, 9, 16), generator=generator) * torch.rand(
            (8, 1, 1, 1), generator=generator
        )
        network(torch.nn.functional.interpolate(squares, scale_factor=8), network.num_tokens_range[1])
        hook.remove()
        features = seen[0].permute(0, 2, 3, 1)
        count, height, width, _ = features.shape
        rays = 0.7 * normalized_view_plane_uv(width, height, 128 / 72).expand(count, -1, -1, -1)
        known = torch.cat([features, torch.ones((count, height, width, 1))], dim=-1)
        found = torch.linalg.lstsq(known.flatten(0, 2), rays.flatten(0, 2)).solution
        last.weight[:2, :, 0, 0], last.bias[:2] = found[:-1].T, found[-1]
