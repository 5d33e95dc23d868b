"""The field's models: each a row that can be read without loading any; and those that are none here, and why.

Sizes and licences are those of the published weights, as their model cards said in November 2026: read them again
before you build on one. What each row was tested with is in `Weights.shown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from plantain.operators.models.base import ModelSpec, Weights
from plantain.operators.prompts import Task

_SPECIALIST = "specialists.families:specialist"
_NEEDS = ("torch", "transformers", "torchvision", "huggingface_hub")
_MASKS = (Task.SEMANTIC, Task.INSTANCES, Task.REFER)
_APART = ("torch", "huggingface_hub")
"""What those need whose own packages are installed apart."""
_APACHE, _MIT = "Apache-2.0", "MIT"
_FINDER = Weights("IDEA-Research/grounding-dino-tiny", True, 172)
"""Of `grounding-dino`, which also finds what others follow."""


@dataclass(frozen=True, slots=True)
class Absent:
    """A model that is asked for, and no backend.

    Attributes:
        name: As the field calls it.
        why: What stands in the way.
        instead: What does the same here.
    """

    name: str
    why: str
    instead: str


def _row(
    target: str,
    summary: str,
    tasks: tuple[Task, ...],
    weights: Weights,
    licence: str,
    model_hw: tuple[int, int],
    *needs: str,
    preset: Mapping[str, Any] = MappingProxyType({}),
    apart: Mapping[str, str] = MappingProxyType({}),
    extra: str = "models",
    **more: Any,
) -> ModelSpec:
    """A row of what libraries run: transformers and diffusers, or those in `apart`; `more` are fields of ModelSpec."""
    checkpoint = {"checkpoint": weights.source} if weights.source else {}
    return ModelSpec(
        target=f"plantain.operators.models.{target}",
        summary=summary,
        tasks=tasks,
        licence=licence,
        needs=(*(_APART if apart else _NEEDS), *needs, *apart),
        extra=extra,
        apart=dict(apart),
        model_hw=model_hw,
        preset={**checkpoint, **preset},
        weights=weights,
        **more,
    )


LIBRARY: dict[str, ModelSpec] = {
    "transformers": _row(
        _SPECIALIST,
        "any checkpoint of the transformers library by its folder or owner/name (option checkpoint): depth, "
        "normals, segmentation, detection, detection by words, image-text-to-text",
        (*_MASKS, Task.DEPTH, Task.NORMALS, Task.DETECT, Task.ASK),
        Weights(),
        "of the checkpoint",
        (576, 1024),
    ),
    "sam3": _row(
        _SPECIALIST,
        "SAM 3 on pictures: everything that a phrase means, each apart, with scores",
        (*_MASKS, Task.DETECT),
        Weights("facebook/sam3", True, 840, is_gated=True, needs_gpu=True),
        "SAM License (no military use)",
        (1008, 1008),
        preset={"name": "sam3", "kinds": ("sam3", "sam3_video")},
        fit="stretch",
    ),
    "sam3-video": _row(
        "specialists.families:sam3_video",
        "SAM 3 on streams: everything that phrases mean, followed from frame to frame under its own number",
        (*_MASKS, Task.DETECT),
        Weights("facebook/sam3", True, 860, is_gated=True, needs_gpu=True),
        "SAM License (no military use)",
        (1008, 1008),
        fit="stretch",
        keeps_streams=True,
    ),
    "sam2-video": _row(
        "specialists.families:sam2_video",
        "SAM 2 on streams: follows what another checkpoint (option finder) finds every few frames",
        (*_MASKS, Task.DETECT),
        Weights("facebook/sam2.1-hiera-tiny", True, 39, needs_gpu=True),
        _APACHE,
        (1024, 1024),
        preset={"finder": _FINDER.source},
        fit="stretch",
        keeps_streams=True,
        members=("grounding-dino",),
    ),
    "edgetam-video": _row(
        "specialists.families:sam2_video",
        "EdgeTAM on streams: as sam2-video, made for small devices",
        (*_MASKS, Task.DETECT),
        Weights("yonigozlan/EdgeTAM-hf", True, 13.9),
        _APACHE,
        (1024, 1024),
        "timm",
        preset={
            "name": "edgetam-video",
            "kind": "edgetam_video",
            "finder": _FINDER.source,
        },
        fit="stretch",
        keeps_streams=True,
        members=("grounding-dino",),
    ),
    "klein": _row(
        "generators.klein:Klein",
        "FLUX.2 klein, 4 B with a text encoder of as many: draws what it is told in four steps, many frames at "
        "once; open replications of the paper by the option lora",
        (*_MASKS, Task.DEPTH, Task.NORMALS, Task.GENERATE),
        Weights("black-forest-labs/FLUX.2-klein-4B", True, 8000, needs_gpu=True, bytes_each=3.0),
        _APACHE,
        (576, 1024),
        "diffusers",
        "accelerate",
        "peft",
        drifts=True,
    ),
    "qwen-image-edit": _row(
        "generators.qwen_edit:QwenEdit",
        "Qwen-Image-Edit, 20 B with a text encoder of 8 B that sees the frame, too: draws what it is told",
        (*_MASKS, Task.DEPTH, Task.NORMALS, Task.GENERATE),
        Weights("Qwen/Qwen-Image-Edit", True, 28800, needs_gpu=True, bytes_each=2.4),
        _APACHE,
        (768, 1344),
        "diffusers",
        "accelerate",
        "peft",
        drifts=True,
    ),
    "remote-code": _row(
        "generators.remote_code:RemoteCode",
        "a checkpoint that is run by Python code of its own (options checkpoint, trust_remote_code): "
        "processor(images, text or task), and images or predictions come back",
        (*_MASKS, Task.DEPTH, Task.NORMALS, Task.GENERATE),
        Weights(shown="protocol only"),
        "of the checkpoint",
        (576, 1024),
    ),
    "depth-anything-v2-outdoor": _row(
        _SPECIALIST,
        "Depth Anything V2, metric, up to 80 m",
        (Task.DEPTH,),
        Weights("depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf", True, 25),
        _APACHE,
        (518, 924),
        preset={"name": "depth-anything-v2-outdoor", "kinds": ("depth_anything",)},
    ),
    "depth-anything-v2-indoor": _row(
        _SPECIALIST,
        "Depth Anything V2, metric, up to 20 m",
        (Task.DEPTH,),
        Weights("depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf", True, 25),
        _APACHE,
        (518, 924),
        preset={"name": "depth-anything-v2-indoor", "kinds": ("depth_anything",)},
    ),
    "depth-anything-3": _row(
        "specialists.depth_anything_3:DepthAnything3",
        "Depth Anything 3, its metric network for single frames, which tells sky apart; each stream must tell its "
        "hfov_deg, or the option assume_hfov does",
        (Task.DEPTH,),
        Weights("depth-anything/DA3METRIC-LARGE", True, 334),
        _APACHE,
        (504, 504),
        apart={
            "depth_anything_3": "depth-anything-3==0.1.1",
            "addict": "addict==2.4.0",
            "einops": "einops==0.8.2",
            "omegaconf": "omegaconf==2.4.0",
        },
        takes_lens=True,
        needs_lens=True,
    ),
    "moge-2": _row(
        "specialists.moge:MoGe",
        "MoGe-2: metric depth and surface directions from one pass; goes by hfov_deg where a stream tells it, and "
        "estimates it otherwise; smaller ones by the option checkpoint",
        (Task.DEPTH, Task.NORMALS),
        Weights("Ruicheng/moge-2-vitl-normal", True, 331, needs_gpu=True),
        _MIT,
        (630, 1120),
        "cv2",
        extra="models,vision",
        apart={"moge": "dlr-moge==2.0.0", "utils3d": "dlr-utils3d==1.3"},
        takes_lens=True,
    ),
    "depth-pro": _row(
        _SPECIALIST,
        "Depth Pro: sharp metric depth, estimates the focal length itself",
        (Task.DEPTH,),
        Weights("apple/DepthPro-hf", False, 952, needs_gpu=True),
        "apple-amlr (research only)",
        (1536, 1536),
        preset={"name": "depth-pro", "kinds": ("depth_pro",)},
        fit="stretch",
    ),
    "zoedepth": _row(
        _SPECIALIST,
        "ZoeDepth: metric depth, indoors and outdoors",
        (Task.DEPTH,),
        Weights("Intel/zoedepth-nyu-kitti", True, 333),
        _MIT,
        (384, 512),
        preset={"name": "zoedepth", "kinds": ("zoedepth",)},
    ),
    "tipsv2": _row(
        _SPECIALIST,
        "TIPSv2-DPT: depth, normals and classes from one pass",
        (Task.DEPTH, Task.NORMALS, Task.SEMANTIC),
        Weights("google/tipsv2-b14-dpt", True, 158),
        "code Apache-2.0, weights CC-BY-4.0",
        (448, 448),
        preset={"name": "tipsv2", "kinds": ("tipsv2_dpt",)},
        fit="stretch",
    ),
    "mask2former": _row(
        _SPECIALIST,
        "Mask2Former, panoptic: the classes of COCO, and each thing of them",
        (Task.SEMANTIC, Task.INSTANCES),
        Weights("facebook/mask2former-swin-tiny-coco-panoptic", True, 47),
        _MIT,
        (384, 640),
        preset={"name": "mask2former", "kinds": ("mask2former",)},
    ),
    "oneformer": _row(
        _SPECIALIST,
        "OneFormer: one network for the classes and the things of ADE20K",
        (Task.SEMANTIC, Task.INSTANCES),
        Weights("shi-labs/oneformer_ade20k_swin_tiny", True, 51),
        _MIT,
        (512, 896),
        preset={"name": "oneformer", "kinds": ("oneformer",)},
    ),
    "eomt": _row(
        _SPECIALIST,
        "EoMT: a plain vision transformer for the classes of COCO, and each thing of them",
        (Task.SEMANTIC, Task.INSTANCES),
        Weights("tue-mps/coco_panoptic_eomt_large_640", True, 317),
        _MIT,
        (640, 640),
        preset={"name": "eomt", "kinds": ("eomt", "eomt_dinov3")},
        fit="stretch",
    ),
    "segformer": _row(
        _SPECIALIST,
        "SegFormer: the classes of Cityscapes, fast",
        (Task.SEMANTIC,),
        Weights("nvidia/segformer-b0-finetuned-cityscapes-1024-1024", False, 3.7),
        "NVIDIA (no commercial use)",
        (512, 1024),
        preset={"name": "segformer", "kinds": ("segformer",)},
    ),
    "rf-detr": _row(
        _SPECIALIST,
        "RF-DETR: boxes of COCO's classes, fast; masks, too, of a segmentation checkpoint (option checkpoint)",
        (Task.DETECT, Task.INSTANCES),
        Weights("Roboflow/rf-detr-base", True, 32),
        _APACHE,
        (560, 560),
        preset={"name": "rf-detr", "kinds": ("rf_detr",)},
        fit="stretch",
    ),
    "grounding-dino": _row(
        _SPECIALIST,
        "Grounding DINO: boxes of whatever words mean; masks, too, with the option masks (a SAM 2 checkpoint)",
        (Task.DETECT, *_MASKS),
        _FINDER,
        _APACHE,
        (800, 1328),
        preset={"name": "grounding-dino", "kinds": ("grounding-dino", "mm-grounding-dino")},
    ),
    "owlv2": _row(
        _SPECIALIST,
        "OWLv2: boxes of whatever words mean, all classes in one pass; masks, too, with the option masks",
        (Task.DETECT, *_MASKS),
        Weights("google/owlv2-base-patch16-ensemble", True, 155),
        _APACHE,
        (960, 960),
        preset={"name": "owlv2", "kinds": ("owlv2", "owlvit")},
    ),
    "clipseg": _row(
        _SPECIALIST,
        "CLIPSeg: coarse regions of whatever words mean, on a processor, too",
        (Task.SEMANTIC, Task.REFER),
        Weights("CIDAS/clipseg-rd64-refined", True, 152),
        _APACHE,
        (352, 352),
        preset={"name": "clipseg", "kinds": ("clipseg",)},
        fit="stretch",
    ),
    "florence-2": _row(
        _SPECIALIST,
        "Florence-2: boxes and outlines of whatever words mean, without scores",
        (Task.DETECT, Task.REFER),
        Weights("florence-community/Florence-2-base", True, 231),
        _MIT,
        (768, 768),
        preset={"name": "florence-2", "kinds": ("florence2",)},
        fit="stretch",
    ),
    "marigold-normals": _row(
        "specialists.marigold:Marigold",
        "Marigold: surface directions, out of noise in four steps; its depth has no unit",
        (Task.NORMALS,),
        Weights("prs-eth/marigold-normals-v1-1", True, 1290, needs_gpu=True),
        "OpenRAIL++-M",
        (576, 768),
        "diffusers",
        "accelerate",
    ),
}
"""Rows of `plantain.operators.models.BACKENDS` whose networks are those of libraries."""


ABSENT: tuple[Absent, ...] = (
    Absent(
        "Vision Banana", "its weights are not public", "klein, with the option lora for an open replication"
    ),
    Absent(
        "Nano Banana, the first",
        "gemini-2.5-flash-image ended on 2 October 2026",
        "gemini-image, which is Nano Banana 2",
    ),
    Absent("Qwen-Image-Edit-Plus", "its library draws one picture a call", "qwen-image-edit, or images-api"),
    Absent("SAM 3.1", "no class of transformers 5.24 loads it", "sam3"),
    Absent("UniK3D", "no package, and its licence is CC BY-NC", "moge-2"),
    Absent("Metric3D v2", "runs code from torch.hub, and needs mmcv", "zoedepth"),
    Absent("PromptDA", "needs a map of true distances with each frame", "depth-anything-v2-outdoor"),
    Absent("Lotus-2", "no package, and its weights are non-commercial", "tipsv2"),
    Absent("DepthLM", "answers in words about single points, and is no dense depth", "moge-2"),
    Absent("X-SAM", "no package, and the one of that name is another thing", "sam3"),
    Absent("DINO-X", "puts pictures into its maker's storage and polls for the answer", "grounding-dino"),
    Absent("SegGPT", "is asked by an example picture, which a prompt cannot hold", "sam3"),
    Absent("DINOv3 heads", "the published weights are a backbone without heads", "eomt"),
    Absent("VidEoMT", "looks at whole clips, and carries nothing from one to the next", "eomt"),
)
"""What users ask for, and is no backend."""
