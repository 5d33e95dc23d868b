"""Every backend of a library's network, each with a tiny checkpoint and what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tests import checkpoints


@dataclass(frozen=True)
class Case:
    """A backend to be tested.

    Attributes:
        make: Writes its checkpoint.
        prompts: What it answers.
        encoder: Finds what must run once a picture, however many prompts there are; None where words are part of it.
        options: Of the backend.
        backend: Its name.
        others: Options that are checkpoints, too, and what writes each.
        batches: It looks at several frames at once, so many as memory holds.
        is_drawn: Its values are read off a drawing, which may differ by a level of 255 in a batch.
    """

    make: Callable[[Path], Path]
    prompts: tuple[str, ...]
    encoder: Callable[[Any], torch.nn.Module] | None
    options: dict[str, Any] = field(default_factory=dict)
    backend: str = "transformers"
    others: dict[str, Callable[[Path], Path]] = field(default_factory=dict)
    batches: bool = True
    is_drawn: bool = False

    def made(self, folder: Path) -> dict[str, Any]:
        """Options with which the backend is loaded; its checkpoints lie in a folder from now on."""
        written = {}
        for name, make in {"checkpoint": self.make, **self.others}.items():
            torch.manual_seed(0)  # what is not widened is drawn, too
            written[name] = str(make(folder / name))
        return {**written, **self.options}


def vision_of_dino(net: Any) -> torch.nn.Module:
    return net.model.backbone.encoder


FOUND = {"finder": checkpoints.owlv2}
WORDS = ("semantic:car,bus", "refer:the red car")
CASES = {
    "depth-anything-v2-outdoor": Case(
        checkpoints.depth_anything, ("depth",), lambda net: net.backbone, backend="depth-anything-v2-outdoor"
    ),
    "depth-anything-v2-indoor": Case(
        checkpoints.depth_anything, ("depth",), lambda net: net.backbone, backend="depth-anything-v2-indoor"
    ),
    "depth-anything-3": Case(
        checkpoints.depth_anything_3,
        ("depth",),
        lambda net: net.backbone,
        {"assume_hfov": 60},
        "depth-anything-3",
    ),
    "moge-2": Case(checkpoints.moge, ("depth", "normals"), lambda net: net.encoder, backend="moge-2"),
    "zoedepth": Case(checkpoints.zoedepth, ("depth",), lambda net: net.backbone, backend="zoedepth"),
    "depth-pro": Case(checkpoints.depth_pro, ("depth",), lambda net: net.head, backend="depth-pro"),
    "dpt": Case(checkpoints.dpt, ("depth",), lambda net: net.dpt, {"scale": 10.0}),
    "tipsv2": Case(
        checkpoints.tips,
        ("depth", "normals", "semantic:car,tree", "semantic:road"),
        lambda net: net.backbone,
        backend="tipsv2",
    ),
    "normals": Case(checkpoints.tips_normals, ("normals",), lambda net: net.backbone),
    "segformer": Case(
        checkpoints.segformer,
        ("semantic:car,person", "semantic:road"),
        lambda net: net.segformer,
        backend="segformer",
    ),
    "mask2former": Case(
        checkpoints.mask2former,
        ("semantic:car,tree,road,person", "instances:car", "instances:road"),
        lambda net: net.model.pixel_level_module,
        {"threshold": 0.1},
        "mask2former",
    ),
    "oneformer": Case(
        checkpoints.oneformer,
        ("semantic:car,tree", "semantic:road,person"),
        lambda net: net.model.pixel_level_module,
        {"threshold": 0.1},
        "oneformer",
    ),
    "eomt": Case(
        checkpoints.eomt,
        ("semantic:car,tree", "instances:car", "instances:road"),
        lambda net: net.embeddings,
        {"threshold": 0.1},
        "eomt",
    ),
    "eomt-splitting": Case(
        checkpoints.eomt_splitting, ("semantic:car,tree", "semantic:road"), lambda net: net.embeddings
    ),
    "maskformer": Case(
        checkpoints.maskformer,
        ("semantic:car,tree,road,person", "instances:car", "instances:road"),
        lambda net: net.model.pixel_level_module,
        {"threshold": 0.1},
    ),
    "detr-panoptic": Case(
        checkpoints.detr_panoptic,
        ("semantic:car,tree,road,person", "instances:car", "instances:road"),
        lambda net: net.detr.model.backbone,
        {"threshold": 0.1},
    ),
    "rf-detr": Case(
        checkpoints.rf_detr,
        ("instances:car", "detect:car,road", "instances:road"),
        lambda net: net.model.model.backbone,
        {"threshold": 0.3},
        "rf-detr",
    ),
    "rt-detr": Case(checkpoints.rt_detr, ("detect:car,road", "detect:tree"), lambda net: net.model.backbone),
    "grounding-dino": Case(
        checkpoints.grounding_dino,
        ("detect:car,red bus", "detect:tree"),
        vision_of_dino,
        backend="grounding-dino",
    ),
    "grounding-dino-sam2": Case(
        checkpoints.grounding_dino,
        ("detect:car", "instances:car", *WORDS),
        vision_of_dino,
        {"threshold": 0.9},
        "grounding-dino",
        {"masks": checkpoints.sam2},
    ),
    "florence-2": Case(
        checkpoints.florence,
        ("detect:car,bus", "refer:the red car", "refer:a bus"),
        lambda net: net.model.vision_tower,
        {"max_tokens": 24},
        "florence-2",
    ),
    "marigold-normals": Case(
        checkpoints.marigold, ("normals",), lambda net: net.vae.encoder, {"steps": 2}, "marigold-normals"
    ),
    "owlv2": Case(
        checkpoints.owlv2,
        ("detect:car,bus", "detect:bus,tree"),
        lambda net: net.owlv2.vision_model,
        backend="owlv2",
    ),
    "owlv2-sam2": Case(
        checkpoints.owlv2,
        ("detect:car", "instances:car", *WORDS),
        lambda net: net.owlv2.vision_model,
        {"threshold": 0.6},
        "owlv2",
        {"masks": checkpoints.sam2},
    ),
    "clipseg": Case(
        checkpoints.clipseg, WORDS, lambda net: net.clip.vision_model, {"threshold": 0.45}, "clipseg"
    ),
    "sam3": Case(
        checkpoints.sam3,
        ("instances:car", "detect:bus", *WORDS),
        lambda net: net.vision_encoder,
        {"threshold": 0.1},
        "sam3",
    ),
    "qwen3-vl": Case(
        checkpoints.qwen3_vl,
        ("ask:how many cars?", "ask:is there a bus in it?"),
        lambda net: net.model.visual,
        {"max_tokens": 6},
    ),
    "blip": Case(checkpoints.blip, ("ask:how many cars", "ask:a photo of"), None, {"max_tokens": 6}),
    "git": Case(checkpoints.git, ("ask:how many cars", "ask:a photo of"), None, {"max_tokens": 6}),
    "sam3-video": Case(
        checkpoints.sam3_video,
        ("instances:car", "detect:bus", *WORDS),
        lambda net: net.detector_model.vision_encoder,
        backend="sam3-video",
        batches=False,
    ),
    "sam2-video": Case(
        checkpoints.sam2_video,
        ("instances:car", "detect:bus", *WORDS),
        lambda net: net.vision_encoder,
        {"finder_options": {"threshold": 0.6}},
        "sam2-video",
        FOUND,
        batches=False,
    ),
    "edgetam-video": Case(
        checkpoints.edgetam_video,
        ("instances:car", "detect:bus", *WORDS),
        lambda net: net.vision_encoder,
        {"finder_options": {"threshold": 0.6}},
        "edgetam-video",
        FOUND,
        batches=False,
    ),
    "klein": Case(
        checkpoints.klein,
        ("depth", "semantic:car,road", "generate:a wet street"),
        lambda pipeline: pipeline.vae.encoder,
        backend="klein",
        is_drawn=True,
    ),
    "qwen-image-edit": Case(
        checkpoints.qwen_edit,
        ("depth", "semantic:car,road"),
        None,
        {"steps": 1, "guidance": 1.0},
        "qwen-image-edit",
        is_drawn=True,
    ),
    "remote-code": Case(
        checkpoints.coded,
        ("depth", "semantic:dark,bright", "normals"),
        None,
        {"trust_remote_code": True, "asks": "task"},
        "remote-code",
        batches=False,
    ),
}
"""By name; every row of the catalogue of libraries is among them."""
