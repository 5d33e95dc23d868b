"""Specialists against their library: what we answer is what the library's own pipeline, or processor, says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from plantain.operators.errors import ModelError, ModelUnavailableError
from plantain.operators.geometry import Letterbox
from plantain.operators.models import BACKENDS, load_model
from plantain.operators.models.specialists.labels import Labels
from plantain.operators.models.specialists.regions import flatten
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure, Frame, FrameInfo, Header
from tests import checkpoints
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here

transformers.utils.logging.set_verbosity_error()


def frame(number: int = 0, size_hw: tuple[int, int] = (72, 128)) -> Frame:
    rng = np.random.default_rng(number)
    picture = rng.integers(0, 255, (size_hw[0] // 8, size_hw[1] // 8, 3)).astype(np.uint8)
    picture = np.ascontiguousarray(picture.repeat(8, axis=0).repeat(8, axis=1))
    fit = Letterbox.fit(size_hw, size_hw)
    return Frame(Header("c", 0, number), FrameInfo(number, Fraction(1, 25), None, "file", fit), picture)


FRAME = frame()
PICTURE = Image.fromarray(FRAME.image)
SIZE = [(72, 128)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Callable[[str], Path]:
    root, made = tmp_path_factory.mktemp("specialists"), {}

    def of(name: str) -> Path:
        if name not in made:
            made[name] = getattr(checkpoints, name)(root / name)
        return made[name]

    return of


def ours(path: Path, prompt: str, **options: Any) -> Any:
    model = load_model("transformers", {"checkpoint": str(path), **options})
    (answer,) = model.answer([FRAME], [0], [Prompt.parse(prompt)])
    assert not isinstance(answer.value, Failure), answer.value
    return answer.value


@pytest.mark.parametrize("name", ["depth_anything", "zoedepth", "depth_pro"])
def test_depth_is_that_of_the_librarys_pipeline(folder, name: str) -> None:
    pipeline = transformers.pipeline("depth-estimation", model=str(folder(name)))
    value = ours(folder(name), "depth")
    theirs = pipeline(PICTURE)["predicted_depth"].numpy()
    np.testing.assert_array_equal(value.valid, theirs < 1e4)  # which is what Depth Pro says of nothing
    np.testing.assert_allclose(value.depth_m, np.where(value.valid, theirs, 0), rtol=1e-4, atol=1e-4)
    assert np.ptp(value.depth_m) > 0


@pytest.mark.parametrize("name", ["segformer", "mask2former", "eomt"])
def test_classes_are_those_of_the_librarys_pipeline(folder, name: str) -> None:
    found = transformers.pipeline("image-segmentation", model=str(folder(name)))(PICTURE, subtask="semantic")
    value = ours(folder(name), "semantic:car,individual,tree,road")
    names = {"person, individual": "individual", "tree-merged": "tree"}
    assert {names.get(each["label"], each["label"]) for each in found} == set(value.names)
    for each in found:
        mask = value.labels == 1 + value.names.index(names.get(each["label"], each["label"]))
        np.testing.assert_array_equal(mask, np.asarray(each["mask"]) > 0)


def test_instances_are_those_of_the_librarys_pipeline(folder) -> None:
    pipeline = transformers.pipeline("image-segmentation", model=str(folder("mask2former")))
    found = [each for each in pipeline(PICTURE, subtask="instance", threshold=0.1) if each["label"] == "car"]
    value = ours(folder("mask2former"), "instances:car", threshold=0.1)
    kept = [each for each in found if np.asarray(each["mask"]).any()]
    assert len(kept) == len(value.names) > 0
    for k, each in enumerate(kept):
        np.testing.assert_array_equal(value.labels == k + 1, np.asarray(each["mask"]) > 0)
        assert value.scores[k] == pytest.approx(each["score"], abs=1e-4)


def test_a_class_is_the_same_whatever_else_is_asked(folder) -> None:
    for name, prompt in (("oneformer", "semantic:{}"), ("owlv2", "detect:{}"), ("sam3", "semantic:{}")):
        options = {} if name == "oneformer" else {"threshold": 0.3}
        alone, beside = (ours(folder(name), prompt.format(each), **options) for each in ("road", "road,car"))
        if name == "owlv2":
            kept = [k for k, each in enumerate(beside.names) if each == "road"]
            np.testing.assert_allclose(alone.scores, beside.scores[kept], atol=1e-5)
        elif name == "oneformer":
            np.testing.assert_array_equal(
                alone.labels > 0,
                beside.labels == 1 + beside.names.index("road") if "road" in beside.names else 0,
            )
        else:
            assert not ((beside.labels > 0) & (alone.labels > 0)).sum() < (alone.labels > 0).sum() // 2


@pytest.mark.parametrize(
    ("task", "asked"), [("semantic", "semantic:car,road"), ("instance", "instances:car")]
)
def test_oneformer_says_what_its_library_reads(folder, task: str, asked: str) -> None:
    path = folder("oneformer")
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


def test_boxes_are_those_of_the_librarys_pipeline(folder) -> None:
    pipeline = transformers.pipeline("object-detection", model=str(folder("rt_detr")))
    found = [each for each in pipeline(PICTURE, threshold=0.5) if each["label"] in ("car", "road")]
    assert found
    value = ours(folder("rt_detr"), "detect:car,road")
    assert [each["label"] for each in found] == list(value.names)
    np.testing.assert_allclose(value.scores, [each["score"] for each in found], atol=1e-4)
    theirs = np.array([list(each["box"].values()) for each in found])
    np.testing.assert_allclose(
        value.xyxy, theirs.clip(0, [128, 72, 128, 72]), atol=1.01
    )  # it cuts off fractions


@pytest.mark.parametrize(("name", "written"), [("owlv2", "a photo of a car"), ("grounding_dino", "car.")])
def test_boxes_of_words_are_those_of_the_librarys_pipeline(folder, name: str, written: str) -> None:
    pipeline = transformers.pipeline("zero-shot-object-detection", model=str(folder(name)))
    found = pipeline(PICTURE, candidate_labels=[written], threshold=0.2)
    value = ours(folder(name), "detect:car", threshold=0.2)
    order = np.argsort(-value.scores, kind="stable")
    np.testing.assert_allclose(value.scores[order], [each["score"] for each in found], atol=1e-4)
    theirs = np.array([list(each["box"].values()) for each in found]).clip(0, [128, 72, 128, 72])
    np.testing.assert_allclose(value.xyxy[order], theirs, atol=1.01)


def test_sam_3_finds_what_its_processor_says_with_its_scores(folder) -> None:
    path = folder("sam3")
    network = transformers.Sam3Model.from_pretrained(path).eval()
    processor = transformers.AutoProcessor.from_pretrained(path)
    inputs = processor(images=PICTURE, text="the red car", return_tensors="pt")
    with torch.inference_mode():
        outputs = network(**inputs)
    (found,) = processor.post_process_instance_segmentation(outputs, threshold=0.1, target_sizes=SIZE)
    value = ours(path, "detect:the red car", threshold=0.1)
    np.testing.assert_allclose(value.scores, found["scores"].numpy(), atol=1e-4)
    np.testing.assert_allclose(value.xyxy, found["boxes"].numpy().clip(0, [128, 72, 128, 72]), atol=0.02)
    region = ours(path, "refer:the red car", threshold=0.1)
    union = found["masks"].bool().any(0).numpy()
    assert ((region.labels > 0) != union).mean() < 0.005
    assert region.scores == pytest.approx([float(found["scores"].max())], abs=1e-4)
    each = ours(path, "instances:the red car", threshold=0.1)
    surest = int(found["scores"].argmax())
    assert ((each.labels == 1) != found["masks"][surest].bool().numpy()).mean() < 0.005, (
        "the surest is on top"
    )


ENCODERS = {
    "sam3": ("vision_encoder", "text_encoder", "semantic"),
    "owlv2": ("owlv2.vision_model", "owlv2.text_model", "detect"),
    "clipseg": ("clip.vision_model", "clip.text_model", "semantic"),
    "grounding_dino": ("model.backbone.encoder", "model.text_backbone.encoder", "detect"),
    "florence": ("model.vision_tower", "", "detect"),
}
"""Of each network that reads words, too: what sees, what reads (with Florence-2 that is what writes), and a task."""


@pytest.mark.parametrize("name", ENCODERS)
def test_a_frame_is_seen_once_for_all_prompts_and_words_are_read_once_for_all_frames(
    folder, name: str
) -> None:
    sees, reads, task = ENCODERS[name]
    options = {"max_tokens": 8} if name == "florence" else {}
    model = load_model("transformers", {"checkpoint": str(folder(name)), **options})
    counts = {"seen": 0, "read": 0}

    def count(what: str, module: str) -> None:
        hook = model.parts.network.get_submodule(module).register_forward_hook  # type: ignore[attr-defined]
        hook(lambda *_: counts.update({what: counts[what] + 1}))

    count("seen", sees)
    if reads:
        count("read", reads)
    prompts = [Prompt.parse(f"{task}:{words}") for words in ("car", "the red bus", "car,road")]
    for number in range(3):
        model.answer([frame(number)], [0, 0, 0], prompts)
    assert counts == {"seen": 3, "read": bool(reads)}


def test_what_is_kept_of_pictures_is_let_go_when_memory_runs_out(folder, monkeypatch) -> None:
    model: Any = load_model("transformers", {"checkpoint": str(folder("grounding_dino"))})

    def no_memory(**_: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    monkeypatch.setattr(model, "forward", no_memory)
    with pytest.raises(ModelError, match="has not enough memory for one picture"):
        model.answer([FRAME], [0], [Prompt.parse("detect:car")])
    assert not model._seen._features


def test_oneformer_sees_a_frame_once_for_all_tasks_and_says_what_it_says_of_each_alone(folder) -> None:
    model = load_model("transformers", {"checkpoint": str(folder("oneformer")), "threshold": 0.1})
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


def test_clipseg_draws_the_librarys_logits(folder) -> None:
    network = transformers.CLIPSegForImageSegmentation.from_pretrained(folder("clipseg")).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder("clipseg"))
    inputs = processor(text=["car"], images=[PICTURE], padding="max_length", return_tensors="pt")
    with torch.inference_mode():
        logits = network(**inputs).logits.reshape(1, 1, 64, 64)
    expected = (
        torch.nn.functional.interpolate(logits.sigmoid(), SIZE[0], mode="bilinear")[0, 0].numpy() > 0.45
    )
    value = ours(folder("clipseg"), "refer:car", threshold=0.45)
    assert ((value.labels > 0) != expected).mean() < 0.005
    assert expected.any()


def test_tipsv2_gives_directions_in_our_axes(folder) -> None:
    network = transformers.Tipsv2DptForDensePrediction.from_pretrained(folder("tips")).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder("tips"))
    with torch.inference_mode():
        outputs = network(**processor(images=PICTURE, return_tensors="pt"))
    depth = processor.post_process_depth_estimation(outputs, target_sizes=SIZE)[0]["predicted_depth"]
    normals = processor.post_process_normal_estimation(outputs, target_sizes=SIZE)[0]["normals"].numpy()
    np.testing.assert_allclose(ours(folder("tips"), "depth").depth_m, depth.numpy(), atol=1e-3)
    value = ours(folder("tips"), "normals").normals
    theirs = (normals / np.linalg.norm(normals, axis=0)).transpose(1, 2, 0) * [1, -1, -1]
    np.testing.assert_allclose(value, theirs, atol=1e-3)


def test_sam_2_makes_masks_in_the_boxes_of_another(folder) -> None:
    dino, sam = folder("grounding_dino"), folder("sam2")
    boxes = ours(dino, "detect:car", threshold=0.9).xyxy
    network = transformers.Sam2Model.from_pretrained(sam).eval()
    processor = transformers.AutoProcessor.from_pretrained(sam)
    inputs = processor(images=PICTURE, input_boxes=[boxes.tolist()], return_tensors="pt")
    with torch.inference_mode():
        masks = network(**inputs, multimask_output=False).pred_masks
    theirs = processor.post_process_masks(masks, SIZE)[0].bool().reshape(-1, *SIZE[0]).numpy()
    value = ours(dino, "refer:car", threshold=0.9, masks=str(sam))
    assert ((value.labels > 0) != theirs.any(0)).mean() < 0.01
    assert len(boxes)
    model = load_model("transformers", {"checkpoint": str(dino)})
    (refused,) = model.answer([FRAME], [0], [Prompt.parse("refer:car")])
    assert "give it a SAM 2 checkpoint with the option masks" in refused.value.error


def test_the_weights_that_make_masks_are_in_the_fingerprint(folder, tmp_path: Path) -> None:
    sam = Path(shutil.copytree(folder("sam2"), tmp_path / "sam"))
    options = {"checkpoint": str(folder("grounding_dino")), "masks": str(sam)}
    before = load_model("transformers", options).fingerprint
    assert load_model("transformers", {**options, "masks": str(folder("sam2"))}).fingerprint == before
    weights = load_file(sam / "model.safetensors")
    save_file({name: 2 * each for name, each in weights.items()}, sam / "model.safetensors", {"format": "pt"})
    assert load_model("transformers", options).fingerprint != before


def test_words_are_those_of_the_librarys_pipeline_in_a_batch_of_unequal_questions(folder) -> None:
    path = folder("qwen3_vl")
    pipeline = transformers.pipeline("image-text-to-text", model=str(path))
    questions = ["how many cars?", "is there a bus in the picture, or a lorry?"]
    model = load_model("transformers", {"checkpoint": str(path), "max_tokens": 8})
    prompts = [Prompt.parse(f"ask:{each}") for each in questions]
    answers = model.answer([FRAME, frame(1)], [0, 0, 1], [*prompts, prompts[0]])
    for k, each in enumerate(questions):
        talk = [
            {"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": each}]}
        ]
        said = pipeline(text=talk, max_new_tokens=8, do_sample=False, return_full_text=False)
        assert answers[k].value.text == said[0]["generated_text"].strip()
    (alone,) = model.answer([frame(1)], [0], [prompts[0]])
    assert alone.value == answers[2].value


def test_florence_2_is_asked_and_read_as_its_library_does(folder) -> None:
    path = folder("florence")
    network = transformers.Florence2ForConditionalGeneration.from_pretrained(path).eval()
    processor = transformers.AutoProcessor.from_pretrained(path)
    task = "<OPEN_VOCABULARY_DETECTION>"
    inputs = processor(images=PICTURE, text=f"{task}car", return_tensors="pt")
    written = network.generate(**inputs, max_new_tokens=24, num_beams=3, do_sample=False)
    text = processor.batch_decode(written, skip_special_tokens=False)[0].replace("<pad>", "")
    found = processor.post_process_generation(text, task=task, image_size=(128, 72))[task]["bboxes"]
    theirs = [box for box in found if box[2] > box[0] and box[3] > box[1]]
    value = ours(path, "detect:car", max_tokens=24)
    assert theirs
    np.testing.assert_allclose(
        value.xyxy, np.array(theirs, np.float32).clip(0, [128, 72, 128, 72]), atol=1e-3
    )
    assert set(value.scores.tolist()) == {1.0}, "it has none"


def test_marigold_draws_the_directions_of_its_librarys_pipeline(folder) -> None:
    import diffusers

    path = folder("marigold")
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


def test_depth_that_nobody_calls_metric_is_refused_unless_its_unit_is_given(folder) -> None:
    with pytest.raises(
        ModelUnavailableError, match=r"does not say that its depth is metric, .* option scale"
    ):
        ours(folder("dpt"), "depth")
    one, two = (ours(folder("dpt"), "depth", scale=scale).depth_m for scale in (1, 2))
    np.testing.assert_allclose(two, 2 * one)


def test_lower_precision_answers_nearly_the_same_under_another_fingerprint(folder) -> None:
    options = {"checkpoint": str(folder("depth_anything"))}
    exact, rough = (
        load_model("transformers", options),
        load_model("transformers", {**options, "dtype": "bfloat16"}),
    )
    assert exact.fingerprint != rough.fingerprint
    assert exact.fingerprint == load_model("transformers", options).fingerprint
    (one,), (other,) = (each.answer([FRAME], [0], [Prompt.parse("depth")]) for each in (exact, rough))
    np.testing.assert_allclose(one.value.depth_m, other.value.depth_m, rtol=0.05)
    assert not np.array_equal(one.value.depth_m, other.value.depth_m)


# Of the default configuration, where that is the published one; millions of parameters.
PUBLISHED = {
    "sam3": ("Sam3Model", "Sam3Config", {}),
    "segformer": ("SegformerForSemanticSegmentation", "SegformerConfig", {"num_labels": 19}),
    "grounding-dino": ("GroundingDinoForObjectDetection", "GroundingDinoConfig", {}),
    "eomt": ("EomtForUniversalSegmentation", "EomtConfig", {"num_labels": 133}),
    "tipsv2": ("Tipsv2DptForDensePrediction", "Tipsv2DptConfig", {"num_labels": 150}),
    "rf-detr": ("RfDetrForObjectDetection", "RfDetrConfig", {}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_in_the_catalogue_are_those_of_the_architectures(name: str) -> None:
    cls, config, options = PUBLISHED[name]
    with torch.device("meta"):
        network = getattr(transformers, cls)(getattr(transformers, config)(**options))
    millions = sum(each.numel() for each in network.parameters()) / 1e6
    assert BACKENDS[name].weights.parameters_m == pytest.approx(millions, rel=0.01)
