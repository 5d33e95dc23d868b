"""The field's models: each a row that can be read without loading any; and those that are none here, and why.

Sizes and licences are those of the published weights, as their model cards said in November 2026: read them again
before you build on one. What each row was tested with is in `Weights.shown`.
"""

from __future__ import annotations

from dataclasses import dataclass

from plantain.operators.models.base import ModelSpec, Weights
from plantain.operators.prompts import Task

_SPECIALIST = "plantain.operators.models.specialists.families:specialist"
_NEEDS = ("torch", "transformers", "torchvision", "huggingface_hub")
_MASKS = (Task.SEMANTIC, Task.INSTANCES, Task.REFER)
_APACHE, _MIT = "Apache-2.0", "MIT"


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


def _specialist(
    name: str,
    summary: str,
    tasks: tuple[Task, ...],
    weights: Weights,
    licence: str,
    kinds: tuple[str, ...],
    model_hw: tuple[int, int],
    **more: object,
) -> ModelSpec:
    """A row of a checkpoint of the transformers library that is known by name."""
    return ModelSpec(
        target=_SPECIALIST,
        summary=summary,
        tasks=tasks,
        licence=licence,
        needs=_NEEDS,
        extra="models",
        model_hw=model_hw,
        preset={"name": name, "checkpoint": weights.source, "kinds": kinds},
        weights=weights,
        **more,  # type: ignore[arg-type]  # fields of ModelSpec
    )


LIBRARY: dict[str, ModelSpec] = {
    "transformers": ModelSpec(
        target=_SPECIALIST,
        summary="any checkpoint of the transformers library by its folder or owner/name (option checkpoint): depth, "
        "normals, segmentation, detection, detection by words, image-text-to-text",
        tasks=(*_MASKS, Task.DEPTH, Task.NORMALS, Task.DETECT, Task.ASK),
        licence="of the checkpoint",
        needs=_NEEDS,
        extra="models",
        model_hw=(576, 1024),
    ),
    "sam3": _specialist(
        "sam3",
        "SAM 3 on pictures: everything that a phrase means, each apart, with scores",
        (*_MASKS, Task.DETECT),
        Weights("facebook/sam3", True, 840, is_gated=True, needs_gpu=True),
        "SAM License (no military use)",
        ("sam3", "sam3_video"),
        (1008, 1008),
        fit="stretch",
    ),
    "sam3-video": ModelSpec(
        target="plantain.operators.models.specialists.families:sam3_video",
        summary="SAM 3 on streams: everything that phrases mean, followed from frame to frame under its own number",
        tasks=(*_MASKS, Task.DETECT),
        licence="SAM License (no military use)",
        needs=_NEEDS,
        extra="models",
        model_hw=(1008, 1008),
        fit="stretch",
        keeps_streams=True,
        preset={"checkpoint": "facebook/sam3"},
        weights=Weights("facebook/sam3", True, 860, is_gated=True, needs_gpu=True),
    ),
    "sam2-video": ModelSpec(
        target="plantain.operators.models.specialists.families:sam2_video",
        summary="SAM 2 on streams: follows what another checkpoint (option finder) finds every few frames",
        tasks=(*_MASKS, Task.DETECT),
        licence=_APACHE,
        needs=_NEEDS,
        extra="models",
        model_hw=(1024, 1024),
        fit="stretch",
        keeps_streams=True,
        preset={"checkpoint": "facebook/sam2.1-hiera-tiny", "finder": "IDEA-Research/grounding-dino-tiny"},
        weights=Weights("facebook/sam2.1-hiera-tiny", True, 39, needs_gpu=True),
    ),
    "edgetam-video": ModelSpec(
        target="plantain.operators.models.specialists.families:sam2_video",
        summary="EdgeTAM on streams: as sam2-video, made for small devices",
        tasks=(*_MASKS, Task.DETECT),
        licence=_APACHE,
        needs=(*_NEEDS, "timm"),
        extra="models",
        model_hw=(1024, 1024),
        fit="stretch",
        keeps_streams=True,
        preset={
            "name": "edgetam-video",
            "kind": "edgetam_video",
            "checkpoint": "yonigozlan/EdgeTAM-hf",
            "finder": "IDEA-Research/grounding-dino-tiny",
        },
        weights=Weights("yonigozlan/EdgeTAM-hf", True, 13.9),
    ),
    "klein": ModelSpec(
        target="plantain.operators.models.generators.klein:Klein",
        summary="FLUX.2 klein, 4 B with a text encoder of as many: draws what it is told in four steps, many frames at "
        "once; open replications of the paper by the option lora",
        tasks=(*_MASKS, Task.DEPTH, Task.NORMALS, Task.GENERATE),
        licence=_APACHE,
        needs=(*_NEEDS, "diffusers", "accelerate", "peft"),
        extra="models",
        model_hw=(576, 1024),
        drifts=True,
        preset={"checkpoint": "black-forest-labs/FLUX.2-klein-4B"},
        weights=Weights("black-forest-labs/FLUX.2-klein-4B", True, 8000, needs_gpu=True, bytes_each=3.0),
    ),
    "qwen-image-edit": ModelSpec(
        target="plantain.operators.models.generators.qwen_edit:QwenEdit",
        summary="Qwen-Image-Edit, 20 B with a text encoder of 8 B that sees the frame, too: draws what it is told",
        tasks=(*_MASKS, Task.DEPTH, Task.NORMALS, Task.GENERATE),
        licence=_APACHE,
        needs=(*_NEEDS, "diffusers", "accelerate", "peft"),
        extra="models",
        model_hw=(768, 1344),
        drifts=True,
        preset={"checkpoint": "Qwen/Qwen-Image-Edit"},
        weights=Weights("Qwen/Qwen-Image-Edit", True, 28800, needs_gpu=True, bytes_each=2.4),
    ),
    "remote-code": ModelSpec(
        target="plantain.operators.models.generators.remote_code:RemoteCode",
        summary="a checkpoint that is run by Python code of its own (options checkpoint, trust_remote_code): "
        "processor(images, text or task), and images or predictions come back",
        tasks=(*_MASKS, Task.DEPTH, Task.NORMALS, Task.GENERATE),
        licence="of the checkpoint",
        needs=_NEEDS,
        extra="models",
        model_hw=(576, 1024),
        weights=Weights(shown="protocol only"),
    ),
    "depth-anything-v2-outdoor": _specialist(
        "depth-anything-v2-outdoor",
        "Depth Anything V2, metric, up to 80 m",
        (Task.DEPTH,),
        Weights("depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf", True, 25),
        _APACHE,
        ("depth_anything",),
        (518, 924),
    ),
    "depth-anything-v2-indoor": _specialist(
        "depth-anything-v2-indoor",
        "Depth Anything V2, metric, up to 20 m",
        (Task.DEPTH,),
        Weights("depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf", True, 25),
        _APACHE,
        ("depth_anything",),
        (518, 924),
    ),
    "depth-pro": _specialist(
        "depth-pro",
        "Depth Pro: sharp metric depth, estimates the focal length itself",
        (Task.DEPTH,),
        Weights("apple/DepthPro-hf", False, 952, needs_gpu=True),
        "apple-amlr (research only)",
        ("depth_pro",),
        (1536, 1536),
        fit="stretch",
    ),
    "zoedepth": _specialist(
        "zoedepth",
        "ZoeDepth: metric depth, indoors and outdoors",
        (Task.DEPTH,),
        Weights("Intel/zoedepth-nyu-kitti", True, 333),
        _MIT,
        ("zoedepth",),
        (384, 512),
    ),
    "tipsv2": _specialist(
        "tipsv2",
        "TIPSv2-DPT: depth, normals and classes from one pass",
        (Task.DEPTH, Task.NORMALS, Task.SEMANTIC),
        Weights("google/tipsv2-b14-dpt", True, 158),
        "code Apache-2.0, weights CC-BY-4.0",
        ("tipsv2_dpt",),
        (448, 448),
        fit="stretch",
    ),
    "mask2former": _specialist(
        "mask2former",
        "Mask2Former, panoptic: the classes of COCO, and each thing of them",
        (Task.SEMANTIC, Task.INSTANCES),
        Weights("facebook/mask2former-swin-tiny-coco-panoptic", True, 47),
        _MIT,
        ("mask2former",),
        (384, 640),
    ),
    "oneformer": _specialist(
        "oneformer",
        "OneFormer: one network for the classes and the things of ADE20K",
        (Task.SEMANTIC, Task.INSTANCES),
        Weights("shi-labs/oneformer_ade20k_swin_tiny", True, 51),
        _MIT,
        ("oneformer",),
        (512, 896),
    ),
    "eomt": _specialist(
        "eomt",
        "EoMT: a plain vision transformer for the classes of COCO, and each thing of them",
        (Task.SEMANTIC, Task.INSTANCES),
        Weights("tue-mps/coco_panoptic_eomt_large_640", True, 317),
        _MIT,
        ("eomt", "eomt_dinov3"),
        (640, 640),
        fit="stretch",
    ),
    "segformer": _specialist(
        "segformer",
        "SegFormer: the classes of Cityscapes, fast",
        (Task.SEMANTIC,),
        Weights("nvidia/segformer-b0-finetuned-cityscapes-1024-1024", False, 3.7),
        "NVIDIA (no commercial use)",
        ("segformer",),
        (512, 1024),
    ),
    "rf-detr": _specialist(
        "rf-detr",
        "RF-DETR: boxes of COCO's classes, fast; masks, too, of a segmentation checkpoint (option checkpoint)",
        (Task.DETECT, Task.INSTANCES),
        Weights("Roboflow/rf-detr-base", True, 32),
        _APACHE,
        ("rf_detr",),
        (560, 560),
        fit="stretch",
    ),
    "grounding-dino": _specialist(
        "grounding-dino",
        "Grounding DINO: boxes of whatever words mean; masks, too, with the option masks (a SAM 2 checkpoint)",
        (Task.DETECT, *_MASKS),
        Weights("IDEA-Research/grounding-dino-tiny", True, 172),
        _APACHE,
        ("grounding-dino", "mm-grounding-dino"),
        (800, 1328),
    ),
    "owlv2": _specialist(
        "owlv2",
        "OWLv2: boxes of whatever words mean, all classes in one pass; masks, too, with the option masks",
        (Task.DETECT, *_MASKS),
        Weights("google/owlv2-base-patch16-ensemble", True, 155),
        _APACHE,
        ("owlv2", "owlvit"),
        (960, 960),
    ),
    "clipseg": _specialist(
        "clipseg",
        "CLIPSeg: coarse regions of whatever words mean, on a processor, too",
        (Task.SEMANTIC, Task.REFER),
        Weights("CIDAS/clipseg-rd64-refined", True, 152),
        _APACHE,
        ("clipseg",),
        (352, 352),
        fit="stretch",
    ),
    "florence-2": _specialist(
        "florence-2",
        "Florence-2: boxes and outlines of whatever words mean, without scores",
        (Task.DETECT, Task.REFER),
        Weights("florence-community/Florence-2-base", True, 231),
        _MIT,
        ("florence2",),
        (768, 768),
        fit="stretch",
    ),
    "marigold-normals": ModelSpec(
        target="plantain.operators.models.specialists.marigold:Marigold",
        summary="Marigold: surface directions, out of noise in four steps; its depth has no unit",
        tasks=(Task.NORMALS,),
        licence="OpenRAIL++-M",
        needs=(*_NEEDS, "diffusers", "accelerate"),
        extra="models",
        model_hw=(576, 768),
        preset={"checkpoint": "prs-eth/marigold-normals-v1-1"},
        weights=Weights("prs-eth/marigold-normals-v1-1", True, 1290, needs_gpu=True),
    ),
}
"""Rows of `plantain.operators.models.BACKENDS` whose networks are those of the transformers and diffusers libraries."""


ABSENT: tuple[Absent, ...] = (
    Absent(
        "Vision Banana",
        "its weights are not public",
        "klein, with the option lora for an open replication",
    ),
    Absent("Qwen-Image-Edit-Plus", "its library draws one picture a call", "qwen-image-edit, or images-api"),
    Absent("SAM 3.1", "no class of transformers 5.24 loads it", "sam3"),
    Absent(
        "Depth Anything 3",
        "its packages on PyPI ask for numpy below 2, which nothing here runs with, and for a web server",
        "depth-anything-v2-outdoor, or depth-pro",
    ),
    Absent(
        "MoGe-2",
        "its package on PyPI is a copy by others, asks for a web interface and installs a module named pipeline",
        "tipsv2",
    ),
    Absent("UniK3D", "no package, and its licence is CC BY-NC", "depth-pro"),
    Absent("Metric3D v2", "runs code from torch.hub, and needs mmcv", "zoedepth"),
    Absent("PromptDA", "needs a map of true distances with each frame", "depth-anything-v2-outdoor"),
    Absent("Lotus-2", "no package, and its weights are non-commercial", "tipsv2"),
    Absent("DepthLM", "answers in words about single points, and is no dense depth", "depth-pro"),
    Absent("X-SAM", "no package, and the one of that name is another thing", "sam3"),
    Absent("DINO-X", "puts pictures into its maker's storage and polls for the answer", "grounding-dino"),
    Absent("SegGPT", "is asked by an example picture, which a prompt cannot hold", "sam3"),
    Absent("DINOv3 heads", "the published weights are a backbone without heads", "eomt"),
    Absent("VidEoMT", "looks at whole clips, and carries nothing from one to the next", "eomt"),
)
"""What users ask for, and is no backend."""
