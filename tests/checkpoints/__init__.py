"""Tiny checkpoints of real architectures, in the real format, with weights drawn wide enough that answers vary.

Each function writes one into a folder and gives that folder. Nothing is downloaded: the tokenizers are made here, too.
"""

from __future__ import annotations

from tests.checkpoints.apart import depth_anything_3, moge
from tests.checkpoints.captions import blip, git, paligemma
from tests.checkpoints.closed import (
    depth_anything,
    depth_pro,
    dpt,
    eomt,
    eomt_splitting,
    mask2former,
    oneformer,
    rf_detr,
    rt_detr,
    sapiens_normals,
    segformer,
    tips,
    tips_normals,
    zoedepth,
)
from tests.checkpoints.coded import coded
from tests.checkpoints.drawing import klein, marigold, qwen_edit
from tests.checkpoints.glm import glm4v
from tests.checkpoints.panoptic import detr_panoptic, maskformer
from tests.checkpoints.video import edgetam_video, sam2_video, sam3_video
from tests.checkpoints.words import clipseg, florence, grounding_dino, owlv2, qwen3_vl, qwen25_vl, sam2, sam3

__all__ = [
    "blip",
    "clipseg",
    "coded",
    "depth_anything",
    "depth_anything_3",
    "depth_pro",
    "detr_panoptic",
    "dpt",
    "edgetam_video",
    "eomt",
    "eomt_splitting",
    "florence",
    "git",
    "glm4v",
    "grounding_dino",
    "klein",
    "marigold",
    "mask2former",
    "maskformer",
    "moge",
    "oneformer",
    "owlv2",
    "paligemma",
    "qwen3_vl",
    "qwen25_vl",
    "qwen_edit",
    "rf_detr",
    "rt_detr",
    "sam2",
    "sam2_video",
    "sam3",
    "sam3_video",
    "sapiens_normals",
    "segformer",
    "tips",
    "tips_normals",
    "zoedepth",
]
