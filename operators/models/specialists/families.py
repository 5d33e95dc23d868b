"""Which class of ours answers with a checkpoint: by what the checkpoint says it is, and the library's own tables."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

from plantain.operators.errors import ModelUnavailableError, UsageError
from plantain.operators.models.loading import Checkpoint, located, made, network_of
from plantain.operators.models.specialists.base import Parts, Specialist, device_called, dtype_called
from plantain.operators.prompts import Task

CODE_VERSION = "1"
"""Raised whenever the same weights answer differently."""

_HERE = "plantain.operators.models.specialists"

_BY_CLASS = {
    "Sam3Model": "sam3:Sam3",
    "Sam3VideoModel": "sam3:Sam3",
    "CLIPSegForImageSegmentation": "clipseg:ClipSeg",
    "Florence2ForConditionalGeneration": "florence:Florence",
    "Tipsv2DptForDensePrediction": "dense:DensePredictor",
    "GroundingDinoForObjectDetection": "grounding:GroundingDino",
    "MMGroundingDinoForObjectDetection": "grounding:GroundingDino",
    "Owlv2ForObjectDetection": "grounding:Owl",
    "OwlViTForObjectDetection": "grounding:Owl",
}
"""Classes of the library that need a way of their own."""

_BY_TASK = (
    ("MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES", "depth:DepthEstimator"),
    ("MODEL_FOR_NORMAL_ESTIMATION_MAPPING_NAMES", "depth:NormalEstimator"),
    ("MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES", "segmentation:Segmenter"),
    ("MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES", "segmentation:Segmenter"),
    ("MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES", "segmentation:Segmenter"),
    ("MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES", "detection:Detector"),
    ("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES", "chat:Chat"),
)
"""Tables of the library, each of the classes that it has for a task, and who answers with those."""

_FOLLOWERS = {"sam2_video": "Sam2VideoModel", "edgetam_video": "EdgeTamVideoModel"}
"""Classes of the library that follow what others have found, by the type of the model."""

_WITH_WORDS = ("sam3", "clipseg", "florence", "grounding", "chat")
"""Modules whose networks read words, too: their processor holds a tokenizer."""

_CANNOT = {
    "prompt_depth_anything": "it needs a map of a few true distances with each frame, which a camera does not give",
    "videomt": "it looks at whole clips, and carries nothing from one to the next",
    "omdet-turbo": "its answers depend on all classes that are asked together; use grounding-dino or owlv2",
}


def specialist(
    checkpoint: str,
    *,
    name: str = "",
    kinds: Sequence[str] = (),
    revision: str = "",
    device: str = "",
    dtype: str = "",
    offline: bool = False,
    trust_remote_code: bool = False,
    masks: str = "",
    **options: Any,
) -> Specialist:
    """What answers with a checkpoint of the transformers library.

    Args:
        checkpoint: Its folder, or its repository, `owner/name`.
        name: What users call it; the checkpoint's if empty.
        kinds: Types of models that it may hold; any if empty.
        revision: Of the repository; the newest if empty.
        device: `cpu`, `cuda`; the GPU if empty and there is one.
        dtype: `float32` or `bfloat16`, which multiplies in lower precision.
        offline: Only what is on this machine.
        trust_remote_code: Runs the Python code that comes with a checkpoint.
        masks: A SAM 2 checkpoint (`owner/name@revision`), which makes masks of the boxes of one that detects by words.
        options: Of the class that answers: `threshold` and others.

    Raises:
        UsageError: If an option is unknown.
        ModelUnavailableError: If the checkpoint cannot be had, is damaged, or holds another model.
    """
    found = located(checkpoint, revision, offline=offline, has_code=trust_remote_code)
    if kinds:
        found.expect(kinds, name or "this backend")
    found.refuse_code(is_trusted=trust_remote_code)
    family = family_of(found)
    cls = _imported(family)
    if masks:
        options["masks"] = masks
    _check_options(cls, options, found)
    settings = {"dtype": dtype or "float32", "offline": offline, "device": device}
    makes_masks = _box_masks(masks, settings) if masks else None
    parts = parts_of(
        found,
        _class_of(found, family),
        name=name or found.called,
        has_words=family.partition(":")[0] in _WITH_WORDS,
        options={**options, "masks": makes_masks and makes_masks.fingerprint},
        trust_remote_code=trust_remote_code,
        device=device,
        dtype=dtype,
    )
    return cls(parts, **{**options, "masks": makes_masks} if masks else options)


def parts_of(
    found: Checkpoint,
    cls: Any,
    *,
    name: str,
    has_words: bool,
    options: Mapping[str, Any],
    device: str = "",
    dtype: str = "",
    trust_remote_code: bool = False,
) -> Parts:
    """Network and processor of a checkpoint, on their device.

    Args:
        found: The checkpoint.
        cls: The library's class of its network.
        name: What users call the backend.
        has_words: Its processor takes words, too.
        options: What else decides the answers, for the fingerprint.
        device: See `specialist`.
        dtype: See `specialist`.
        trust_remote_code: See `specialist`.

    Raises:
        ModelUnavailableError: If it cannot be loaded.
    """
    import transformers

    where, precision = device_called(device), dtype_called(dtype)
    network = network_of(found, cls, dtype="float32", trust_remote_code=trust_remote_code)
    processors = transformers.AutoProcessor if has_words else transformers.AutoImageProcessor
    own = {"repo_path": str(found.folder)} if found.kind == "oneformer" else {}
    if found.kind == "oneformer":
        processors = transformers.AutoProcessor
    processor = made(
        found,
        lambda: processors.from_pretrained(
            found.folder, local_files_only=True, trust_remote_code=trust_remote_code, **own
        ),
    )
    made_of = [
        transformers.__version__,
        # The library has several for one model, which differ by a level of 255 here and there.
        type(getattr(processor, "image_processor", processor)).__name__,
        str(precision),
        {key: value for key, value in options.items() if value},
    ]
    return Parts(name, fingerprint_of(found, made_of), network.to(where), processor, where, precision)


def fingerprint_of(found: Checkpoint, made_of: Sequence[Any]) -> str:
    """Changes whenever the same picture may be answered differently.

    Args:
        found: The checkpoint.
        made_of: What else decides the answers.
    """
    known = json.dumps([found.digest(), CODE_VERSION, *made_of], sort_keys=True, default=str)
    return hashlib.blake2b(known.encode(), digest_size=6).hexdigest()


def version_of(module: str) -> str:
    """The version of the package that a module is from, whatever that is called; empty where it is from none."""
    packages = importlib.metadata.packages_distributions().get(module)
    return importlib.metadata.version(packages[0]) if packages else ""


def sam3_video(
    checkpoint: str = "",
    *,
    revision: str = "",
    device: str = "",
    dtype: str = "",
    offline: bool = False,
    name: str = "sam3-video",
    **options: Any,
) -> Specialist:
    """SAM 3 as a model that keeps something about each stream; the arguments are those of `specialist`.

    Raises:
        UsageError: If an option is unknown.
        ModelUnavailableError: If the checkpoint cannot be had, is damaged, or holds another model.
    """
    import transformers

    found = located(checkpoint, revision, offline=offline)
    found.expect(("sam3_video",), name)
    cls = _imported("sam3_video:Sam3Video")
    _check_options(cls, options, found)
    parts = parts_of(
        found,
        transformers.Sam3VideoModel,
        name=name,
        has_words=True,
        options={**options, "sessions": 1},
        device=device,
        dtype=dtype,
    )
    return cls(parts, **options)


def sam2_video(
    checkpoint: str = "",
    *,
    finder: str = "",
    finder_options: Mapping[str, Any] | None = None,
    look_every: int = 5,
    max_objects: int = 64,
    revision: str = "",
    device: str = "",
    dtype: str = "",
    offline: bool = False,
    name: str = "sam2-video",
    kind: str = "sam2_video",
) -> Specialist:
    """SAM 2 or EdgeTAM, which follows what another checkpoint finds; other arguments are those of `specialist`.

    Args:
        checkpoint: Of what follows.
        finder: A checkpoint that answers `detect:`.
        finder_options: Of that, as of `specialist`.
        look_every: Frames from one look for new things to the next.
        max_objects: Things that are followed at once on a stream.
        revision: See `specialist`.
        device: See `specialist`.
        dtype: See `specialist`.
        offline: See `specialist`.
        name: See `specialist`.
        kind: Which of the two: `sam2_video`, `edgetam_video`.

    Raises:
        UsageError: If an option is unknown, or there is no finder.
        ModelUnavailableError: If a checkpoint cannot be had, is damaged, or holds another model.
    """
    import transformers

    if not finder:
        raise UsageError(
            "give the option finder: a checkpoint that finds boxes by words, such as Grounding DINO's"
        )
    found = located(checkpoint, revision, offline=offline)
    found.expect((kind,), name)
    shared = {"device": device, "dtype": dtype, "offline": offline}
    finding = specialist(finder, **{**shared, **(finder_options or {})})
    if Task.DETECT not in finding.tasks:
        raise UsageError(f"finder {finder} finds no boxes: it answers {', '.join(finding.tasks)}")
    parts = parts_of(
        found,
        getattr(transformers, _FOLLOWERS[kind]),
        name=name,
        has_words=True,
        options={"look_every": look_every, "max_objects": max_objects},
        device=device,
        dtype=dtype,
    )
    cls: Any = _imported("sam2_video:Sam2Video")
    made_of: Specialist = cls(parts, finder=finding, look_every=look_every, max_objects=max_objects)
    return made_of


def family_of(found: Checkpoint) -> str:
    """`module:Class` of who answers with a checkpoint.

    Raises:
        ModelUnavailableError: If nobody does.
    """
    if why := _CANNOT.get(found.kind):
        raise ModelUnavailableError(f"{found.name} cannot answer here: {why}")
    if found.architecture in _BY_CLASS:
        return _BY_CLASS[found.architecture]
    from transformers.models.auto import modeling_auto

    for table, family in _BY_TASK:
        named = getattr(modeling_auto, table)
        if found.architecture in named.values() or (not found.architecture and found.kind in named):
            return family
    raise ModelUnavailableError(
        f"{found.name} is a {found.architecture or found.kind or 'model of no known type'}, which answers none of the "
        "tasks here: give a checkpoint of depth estimation, segmentation, detection or image-text-to-text"
    )


def _class_of(found: Checkpoint, family: str) -> Any:
    """The library's class of a checkpoint's network."""
    import transformers

    if family == "sam3:Sam3":  # the video checkpoint holds the detector of pictures
        return transformers.Sam3Model
    if family == "chat:Chat":
        return transformers.AutoModelForImageTextToText
    if found.architecture:
        return getattr(transformers, found.architecture)
    from transformers.models.auto import modeling_auto

    tables = [getattr(modeling_auto, table) for table, _ in _BY_TASK]
    return getattr(transformers, next(table[found.kind] for table in tables if found.kind in table))


def _box_masks(checkpoint: str, settings: Mapping[str, Any]) -> Any:
    import transformers

    from plantain.operators.models.specialists.box_masks import BoxMasks

    found = located(checkpoint, offline=settings["offline"])
    found.expect(("sam2", "sam2_video"), "what makes masks of boxes")
    parts = parts_of(
        found,
        transformers.Sam2Model,
        name=found.called,
        has_words=True,
        options={},
        device=settings["device"],
        dtype=settings["dtype"],
    )
    return BoxMasks(parts)


def _check_options(cls: type[Specialist], options: Mapping[str, Any], found: Checkpoint) -> None:
    """Options that a class does not take, before anything large is loaded."""
    taken: set[str] = set()
    for each in cls.__mro__:
        if "__init__" in vars(each):
            taken |= {*inspect.signature(vars(each)["__init__"]).parameters}
    taken -= {"self", "parts", "args", "kwargs", "options"}
    if unknown := sorted(set(options) - taken):
        known = ", ".join(sorted(taken)) or "none of its own"
        raise UsageError(f"{found.name} does not take {', '.join(unknown)}: it takes {known}")


def _imported(family: str) -> type[Specialist]:
    module, _, attribute = family.partition(":")
    cls: type[Specialist] = getattr(importlib.import_module(f"{_HERE}.{module}"), attribute)
    return cls
