"""Specialists against their library: what we answer is what the library's own pipeline, or processor, says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
import transformers

from plantain.operators.errors import ModelUnavailableError
from plantain.operators.models import BACKENDS, load_model
from plantain.operators.models.specialists.labels import Labels
from plantain.operators.models.specialists.regions import flatten
from plantain.operators.prompts import Prompt
from tests import checkpoints
from tests.checkpoints.asking import FRAME, PICTURE, SIZE, frame, ours, theirs
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here

transformers.utils.logging.set_verbosity_error()

NAMES = ("car", "individual", "tree", "road")
"""What each of the checkpoints' classes is called, by number."""


@pytest.mark.parametrize("name", ["depth_anything", "zoedepth", "depth_pro"])
def test_depth_is_that_of_the_librarys_pipeline(checkpoint, name: str) -> None:
    pipeline = transformers.pipeline("depth-estimation", model=str(checkpoint(name)))
    value = ours(checkpoint(name), "depth")
    theirs = pipeline(PICTURE)["predicted_depth"].numpy()
    np.testing.assert_array_equal(value.valid, theirs < 1e4)  # which is what Depth Pro says of nothing
    np.testing.assert_allclose(value.depth_m, np.where(value.valid, theirs, 0), rtol=1e-4, atol=1e-4)
    assert np.ptp(value.depth_m) > 0


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("mask2former", "Mask2FormerForUniversalSegmentation"),
        ("maskformer", "MaskFormerForInstanceSegmentation"),
        ("detr_panoptic", "DetrForSegmentation"),
        ("eomt", "EomtForUniversalSegmentation"),
    ],
)
def test_instances_are_what_their_library_reads(checkpoint, name: str, cls: str) -> None:
    path = checkpoint(name)
    processor, outputs = theirs(path, cls)
    (found,) = processor.post_process_instance_segmentation(outputs, target_sizes=SIZE, threshold=0.1)
    number = Counter(each["label_id"] for each in found["segments_info"]).most_common(1)[0][0]
    things = [each for each in found["segments_info"] if each["label_id"] == number]
    masks = [found["segmentation"].numpy() == each["id"] for each in things]
    kept = [(each["score"], mask) for each, mask in zip(things, masks, strict=True) if mask.any()]
    value = ours(path, f"instances:{NAMES[number]}", threshold=0.1)
    assert len(kept) == len(value.names) > 0
    for k, (score, mask) in enumerate(kept):
        np.testing.assert_array_equal(value.labels == k + 1, mask)
        assert value.scores[k] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("segformer", "SegformerForSemanticSegmentation"),
        ("mask2former", "Mask2FormerForUniversalSegmentation"),
        ("maskformer", "MaskFormerForInstanceSegmentation"),
        ("detr_panoptic", "DetrForSegmentation"),
        ("eomt", "EomtForUniversalSegmentation"),
        ("eomt_splitting", "EomtForUniversalSegmentation"),
        ("tips", "Tipsv2DptForDensePrediction"),
    ],
)
def test_classes_are_what_their_library_reads(checkpoint, name: str, cls: str) -> None:
    path = checkpoint(name)
    processor, outputs = theirs(path, cls)
    (labels,) = processor.post_process_semantic_segmentation(outputs, target_sizes=SIZE)
    value = ours(path, f"semantic:{','.join(NAMES)}")
    assert {*value.names} == {NAMES[k] for k in labels.unique().tolist()}
    numbers = np.array([NAMES.index(each) for each in value.names])
    np.testing.assert_array_equal(numbers[value.labels - 1], labels.numpy())


@pytest.mark.parametrize(
    ("task", "asked"), [("semantic", "semantic:car,road"), ("instance", "instances:car")]
)
def test_oneformer_says_what_its_library_reads(checkpoint, task: str, asked: str) -> None:
    path = checkpoint("oneformer")
    network = transformers.OneFormerForUniversalSegmentation.from_pretrained(path).eval()
    processor = transformers.AutoProcessor.from_pretrained(path, repo_path=str(path))
    with torch.inference_mode():
        outputs = network(**processor(images=PICTURE, task_inputs=[task], return_tensors="pt"))
    value = ours(path, asked, threshold=0.1)
    if task == "semantic":
        (theirs,) = processor.post_process_semantic_segmentation(outputs, target_sizes=SIZE)
        for number, name in ((0, "car"), (3, "road")):
            mine = value.labels == 1 + value.names.index(name) if name in value.names else value.labels < 0
            np.testing.assert_array_equal(mine, theirs.numpy() == number)
        assert value.names
        return
    (theirs,) = processor.post_process_instance_segmentation(outputs, target_sizes=SIZE, threshold=0.1)
    kept = [each for each in theirs["segments_info"] if each["label_id"] == 0]
    masks = [theirs["segmentation"].numpy() == each["id"] for each in kept]
    assert len(value.names) == sum(bool(mask.any()) for mask in masks) > 0
    for k, (each, mask) in enumerate((e, m) for e, m in zip(kept, masks, strict=True) if m.any()):
        np.testing.assert_array_equal(value.labels == k + 1, mask)
        assert value.scores[k] == pytest.approx(each["score"], abs=1e-4)


@pytest.mark.parametrize("paints", [True, False])
def test_rf_detr_finds_what_its_library_reads(tmp_path: Path, paints: bool) -> None:
    path = checkpoints.rf_detr(tmp_path / "rf_detr", paints=paints)
    kind = "InstanceSegmentation" if paints else "ObjectDetection"
    network = getattr(transformers, f"RfDetrFor{kind}").from_pretrained(path).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(path)
    with torch.inference_mode():
        outputs = network(**processor(images=PICTURE, return_tensors="pt"))
    (found,) = processor.post_process_object_detection(outputs, threshold=0.3, target_sizes=SIZE)
    kept = [k for k, number in enumerate(found["labels"].tolist()) if number in (0, 3)]
    value = ours(path, "detect:car,road", threshold=0.3)
    assert [("car", "road")[found["labels"][k] == 3] for k in kept] == list(value.names)
    assert kept
    np.testing.assert_allclose(value.scores, found["scores"][kept].numpy(), atol=1e-4)
    theirs = found["boxes"][kept].numpy().clip(0, [128, 72, 128, 72])
    np.testing.assert_allclose(value.xyxy, theirs, atol=1e-2)
    if paints:
        (read,) = processor.post_process_instance_segmentation(outputs, threshold=0.3, target_sizes=SIZE)
        cars = [each for each in read["segments_info"] if each["label_id"] == 0]
        masks = [read["segmentation"].numpy() == each["id"] for each in cars]
        shown = ours(path, "instances:car", threshold=0.3)
        assert len(shown.names) == sum(bool(mask.any()) for mask in masks) > 0
        np.testing.assert_array_equal(shown.labels > 0, np.any(masks, axis=0))


def test_boxes_are_those_of_the_librarys_pipeline(checkpoint) -> None:
    pipeline = transformers.pipeline("object-detection", model=str(checkpoint("rt_detr")))
    found = [each for each in pipeline(PICTURE, threshold=0.5) if each["label"] in ("car", "road")]
    assert found
    value = ours(checkpoint("rt_detr"), "detect:car,road")
    assert [each["label"] for each in found] == list(value.names)
    np.testing.assert_allclose(value.scores, [each["score"] for each in found], atol=1e-4)
    theirs = np.array([list(each["box"].values()) for each in found])
    np.testing.assert_allclose(
        value.xyxy, theirs.clip(0, [128, 72, 128, 72]), atol=1.01
    )  # it cuts off fractions


def test_oneformer_sees_a_frame_once_for_all_tasks_and_says_what_it_says_of_each_alone(checkpoint) -> None:
    model = load_model("transformers", {"checkpoint": str(checkpoint("oneformer")), "threshold": 0.1})
    seen: list[int] = []
    backbone = model.parts.network.get_submodule("model.pixel_level_module.module.encoder")  # type: ignore[attr-defined]
    backbone.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    prompts = [Prompt.parse(each) for each in ("semantic:car,road", "instances:car", "semantic:tree")]
    pairs = [(image, prompt) for image in range(2) for prompt in prompts]
    frames = [frame(number) for number in range(2)]
    told = model.answer(frames, [image for image, _ in pairs], [prompt for _, prompt in pairs])
    assert seen == [2]
    for (image, prompt), answer in zip(pairs, told, strict=True):
        (alone,) = model.answer([frames[image]], [0], [prompt])
        assert alone.value.names == answer.value.names
        assert (alone.value.labels != answer.value.labels).mean() < 0.002
    assert {len(answer.value.names) for answer in told} > {0}
    assert not np.array_equal(told[0].value.labels, told[3].value.labels)


def test_tipsv2_gives_directions_in_our_axes(checkpoint) -> None:
    network = transformers.Tipsv2DptForDensePrediction.from_pretrained(checkpoint("tips")).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(checkpoint("tips"))
    with torch.inference_mode():
        outputs = network(**processor(images=PICTURE, return_tensors="pt"))
    depth = processor.post_process_depth_estimation(outputs, target_sizes=SIZE)[0]["predicted_depth"]
    normals = processor.post_process_normal_estimation(outputs, target_sizes=SIZE)[0]["normals"].numpy()
    np.testing.assert_allclose(ours(checkpoint("tips"), "depth").depth_m, depth.numpy(), atol=1e-3)
    value = ours(checkpoint("tips"), "normals").normals
    theirs = (normals / np.linalg.norm(normals, axis=0)).transpose(1, 2, 0) * [1, -1, -1]
    np.testing.assert_allclose(value, theirs, atol=1e-3)


@pytest.mark.parametrize(("name", "cls"), [("tips_normals", "Tipsv2Dpt"), ("sapiens_normals", "Sapiens2")])
def test_directions_are_what_their_library_reads_in_our_axes(checkpoint, name: str, cls: str) -> None:
    path = checkpoint(name)
    processor, outputs = theirs(path, f"{cls}ForNormalEstimation")
    sizes = {"source_sizes": SIZE} if name == "sapiens_normals" else {}  # which pads what it sees
    (found,) = processor.post_process_normal_estimation(outputs, target_sizes=SIZE, **sizes)
    normals = found["normals"].numpy()
    expected = (normals / np.linalg.norm(normals, axis=0)).transpose(1, 2, 0) * [1, -1, -1]
    value = ours(path, "normals").normals
    np.testing.assert_allclose(value, expected, atol=1e-3)
    assert np.ptp(value, axis=(0, 1)).min() > 0.1


def test_marigold_draws_the_directions_of_its_librarys_pipeline(checkpoint) -> None:
    import diffusers

    path = checkpoint("marigold")
    pipeline = diffusers.MarigoldNormalsPipeline.from_pretrained(path)
    drawn = pipeline(PICTURE, num_inference_steps=2, generator=torch.Generator().manual_seed(0)).prediction[0]
    model = load_model("marigold-normals", {"checkpoint": str(path), "steps": 2})
    (answer,) = model.answer([FRAME], [0], [Prompt.parse("normals")])
    theirs = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
    np.testing.assert_allclose(
        answer.value.normals[answer.value.valid], theirs[answer.value.valid], atol=1e-4
    )
    assert answer.value.valid.mean() > 0.9


def test_words_for_classes_are_found_as_they_are_written() -> None:
    labels = Labels({0: "person, individual, someone", 1: "wall-other-merged", 2: "traffic light", 3: "Wall"})
    assert [labels.ids(each) for each in ("Individual", "traffic_light", "wall", "cat")] == [
        [0],
        [2],
        [1, 3],
        [],
    ]
    assert labels.index_of(("someone", "wall")) == {0: 0, 1: 1, 3: 1}
    said = labels.refusal(Prompt.parse("semantic:wall,trafic light"), "m")
    assert said == "model m was taught no class 'trafic light': it knows 7 names, such as traffic light"


def test_the_surest_mask_is_on_top_and_what_is_hidden_is_no_region() -> None:
    masks = torch.zeros(3, 2, 4, dtype=torch.bool)
    masks[0, :, :2] = masks[1, :, 1:] = masks[2, 0, 1] = True
    value = flatten(masks, ("a", "b", "c"), torch.tensor([0.9, 0.95, 0.5]))
    assert value.labels.tolist() == [[2, 1, 1, 1]] * 2
    assert value.names == ("b", "a")
    assert flatten(masks[:0], (), torch.zeros(0)).labels.shape == (2, 4)


def test_relative_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="knows only what is nearer than what"):
        ours(checkpoints.depth_anything(tmp_path / "relative", "relative"), "depth")


def test_depth_that_nobody_calls_metric_is_refused_unless_its_unit_is_given(checkpoint) -> None:
    with pytest.raises(
        ModelUnavailableError, match=r"does not say that its depth is metric, .* option scale"
    ):
        ours(checkpoint("dpt"), "depth")
    one, two = (ours(checkpoint("dpt"), "depth", scale=scale).depth_m for scale in (1, 2))
    np.testing.assert_allclose(two, 2 * one)


def test_lower_precision_answers_nearly_the_same_under_another_fingerprint(checkpoint) -> None:
    options = {"checkpoint": str(checkpoint("depth_anything"))}
    exact, rough = (
        load_model("transformers", options),
        load_model("transformers", {**options, "dtype": "bfloat16"}),
    )
    assert exact.fingerprint != rough.fingerprint
    assert exact.fingerprint == load_model("transformers", options).fingerprint
    (one,), (other,) = (each.answer([FRAME], [0], [Prompt.parse("depth")]) for each in (exact, rough))
    np.testing.assert_allclose(one.value.depth_m, other.value.depth_m, rtol=0.05)
    assert not np.array_equal(one.value.depth_m, other.value.depth_m)


SWIN_T = {
    "model_type": "swin",
    "image_size": 384,
    "embed_dim": 96,
    "depths": [2, 2, 6, 2],
    "num_heads": [3, 6, 12, 24],
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
REPVIT = {
    "model_type": "edgetam_vision_model",
    "backbone_config": {
        "model_type": "timm_wrapper",
        "architecture": "repvit_m1",
        "num_classes": 2,
        "label_names": ["a", "b"],
        "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
    },
}
# Of the default configuration, where that is the published one but for the backbone; millions of parameters.
PUBLISHED = {
    "sam3": ("Sam3Model", "Sam3Config", {}),
    "segformer": ("SegformerForSemanticSegmentation", "SegformerConfig", {"num_labels": 19}),
    "grounding-dino": ("GroundingDinoForObjectDetection", "GroundingDinoConfig", {}),
    "eomt": ("EomtForUniversalSegmentation", "EomtConfig", {"num_labels": 133}),
    "tipsv2": ("Tipsv2DptForDensePrediction", "Tipsv2DptConfig", {"num_labels": 150}),
    "rf-detr": ("RfDetrForObjectDetection", "RfDetrConfig", {}),
    "sam3-video": ("Sam3VideoModel", "Sam3VideoConfig", {}),
    "sam2-video": ("Sam2VideoModel", "Sam2VideoConfig", {}),
    "edgetam-video": ("EdgeTamVideoModel", "EdgeTamVideoConfig", {"vision_config": REPVIT}),
    "depth-anything-v2-outdoor": ("DepthAnythingForDepthEstimation", "DepthAnythingConfig", {}),
    "zoedepth": ("ZoeDepthForDepthEstimation", "ZoeDepthConfig", {}),
    "mask2former": ("Mask2FormerForUniversalSegmentation", "Mask2FormerConfig", {"backbone_config": SWIN_T}),
    "oneformer": ("OneFormerForUniversalSegmentation", "OneFormerConfig", {"num_labels": 150}),
    "owlv2": ("Owlv2ForObjectDetection", "Owlv2Config", {"vision_config": {"image_size": 960}}),
    "clipseg": ("CLIPSegForImageSegmentation", "CLIPSegConfig", {}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_in_the_catalogue_are_those_of_the_architectures(name: str) -> None:
    cls, config, options = PUBLISHED[name]
    with torch.device("meta"):
        network = getattr(transformers, cls)(getattr(transformers, config)(**options))
    millions = sum(each.numel() for each in network.parameters()) / 1e6
    assert BACKENDS[name].weights.parameters_m == pytest.approx(millions, rel=0.01)


QWEN_7B = {
    "text_config": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
    "vision_config": {"hidden_size": 1280, "out_hidden_size": 3584, "intermediate_size": 3420},
    "tie_word_embeddings": False,
}
"""Of Qwen2.5-VL 7B, as its card says."""


def test_the_size_of_qwen_image_edit_is_that_of_its_three_networks() -> None:
    with torch.device("meta"):
        drawing, painting = diffusers.QwenImageTransformer2DModel(), diffusers.AutoencoderKLQwenImage()
        reading = transformers.Qwen2_5_VLForConditionalGeneration(transformers.Qwen2_5_VLConfig(**QWEN_7B))
    sizes = [sum(each.numel() for each in net.parameters()) / 1e6 for net in (drawing, reading, painting)]
    assert sizes[0] == pytest.approx(20_430, rel=0.001)
    assert BACKENDS["qwen-image-edit"].weights.parameters_m == pytest.approx(sum(sizes), rel=0.01)
