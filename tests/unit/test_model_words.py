"""Specialists that read words against their library, and what they keep of pictures and words."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from plantain.operators.errors import ModelError, ModelUnavailableError
from plantain.operators.models import load_model
from plantain.operators.prompts import Prompt
from tests.checkpoints.asking import FRAME, PICTURE, SIZE, frame, ours, theirs
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here

transformers.utils.logging.set_verbosity_error()


def test_a_class_is_the_same_whatever_else_is_asked(checkpoint) -> None:
    for name, prompt in (("oneformer", "semantic:{}"), ("owlv2", "detect:{}"), ("sam3", "semantic:{}")):
        options = {} if name == "oneformer" else {"threshold": 0.3}
        alone, beside = (
            ours(checkpoint(name), prompt.format(each), **options) for each in ("road", "road,car")
        )
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


@pytest.mark.parametrize(("name", "written"), [("owlv2", "a photo of a car"), ("grounding_dino", "car.")])
def test_boxes_of_words_are_those_of_the_librarys_pipeline(checkpoint, name: str, written: str) -> None:
    pipeline = transformers.pipeline("zero-shot-object-detection", model=str(checkpoint(name)))
    found = pipeline(PICTURE, candidate_labels=[written], threshold=0.2)
    value = ours(checkpoint(name), "detect:car", threshold=0.2)
    order = np.argsort(-value.scores, kind="stable")
    np.testing.assert_allclose(value.scores[order], [each["score"] for each in found], atol=1e-4)
    theirs = np.array([list(each["box"].values()) for each in found]).clip(0, [128, 72, 128, 72])
    np.testing.assert_allclose(value.xyxy[order], theirs, atol=1.01)


def test_sam_3_finds_what_its_processor_says_with_its_scores(checkpoint) -> None:
    path = checkpoint("sam3")
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


def test_sam_3_takes_all_that_a_class_means_for_its_region(checkpoint) -> None:
    """As the processor of its makers does; the library's semantic reader looks at a head without scores."""
    path, classes = checkpoint("sam3"), ("car", "the red bus")
    found = {}
    for words in classes:
        processor, outputs = theirs(path, "Sam3Model", text=words)
        (read,) = processor.post_process_instance_segmentation(outputs, threshold=0.1, target_sizes=SIZE)
        found[words] = (float(read["scores"].max()), read["masks"].bool().any(0).numpy())
    value = ours(path, f"semantic:{','.join(classes)}", threshold=0.1)
    below, top = sorted(found, key=lambda words: found[words][0])
    expected = np.zeros(SIZE[0], np.int64)
    for number, words in ((1, below), (2, top)):
        expected[found[words][1]] = number
    numbers = np.array([0, *(1 + (below, top).index(each) for each in value.names)])
    assert (numbers[value.labels] != expected).mean() < 0.005, "the surer class is on top"
    assert {1, 2} & {*expected.ravel()}
    for name, score in zip(value.names, value.scores, strict=True):
        assert score == pytest.approx(found[name][0], abs=1e-4)


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
    checkpoint, name: str
) -> None:
    sees, reads, task = ENCODERS[name]
    options = {"max_tokens": 8} if name == "florence" else {}
    model = load_model("transformers", {"checkpoint": str(checkpoint(name)), **options})
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


def test_what_is_kept_of_pictures_is_let_go_when_memory_runs_out(checkpoint, monkeypatch) -> None:
    model: Any = load_model("transformers", {"checkpoint": str(checkpoint("grounding_dino"))})

    def no_memory(**_: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    monkeypatch.setattr(model, "forward", no_memory)
    with pytest.raises(ModelError, match="has not enough memory for one picture"):
        model.answer([FRAME], [0], [Prompt.parse("detect:car")])
    assert not model._seen._features


def test_clipseg_draws_the_librarys_logits(checkpoint) -> None:
    network = transformers.CLIPSegForImageSegmentation.from_pretrained(checkpoint("clipseg")).eval()
    processor = transformers.AutoProcessor.from_pretrained(checkpoint("clipseg"))
    inputs = processor(text=["car"], images=[PICTURE], padding="max_length", return_tensors="pt")
    with torch.inference_mode():
        logits = network(**inputs).logits.reshape(1, 1, 64, 64)
    expected = (
        torch.nn.functional.interpolate(logits.sigmoid(), SIZE[0], mode="bilinear")[0, 0].numpy() > 0.45
    )
    value = ours(checkpoint("clipseg"), "refer:car", threshold=0.45)
    assert ((value.labels > 0) != expected).mean() < 0.005
    assert expected.any()


def test_sam_2_makes_masks_in_the_boxes_of_another(checkpoint) -> None:
    dino, sam = checkpoint("grounding_dino"), checkpoint("sam2")
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


def test_the_weights_that_make_masks_are_in_the_fingerprint(checkpoint, tmp_path: Path) -> None:
    sam = Path(shutil.copytree(checkpoint("sam2"), tmp_path / "sam"))
    options = {"checkpoint": str(checkpoint("grounding_dino")), "masks": str(sam)}
    before = load_model("transformers", options).fingerprint
    assert load_model("transformers", {**options, "masks": str(checkpoint("sam2"))}).fingerprint == before
    weights = load_file(sam / "model.safetensors")
    save_file({name: 2 * each for name, each in weights.items()}, sam / "model.safetensors", {"format": "pt"})
    assert load_model("transformers", options).fingerprint != before


# Some processors of the library make arrays of tensors, and numpy has its doubts.
_ARRAYS_OF_TENSORS = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@_ARRAYS_OF_TENSORS
@pytest.mark.parametrize("name", ["qwen3_vl", "qwen25_vl", "glm4v"])
def test_words_are_those_of_the_librarys_pipeline_in_a_batch_of_unequal_questions(
    checkpoint, name: str
) -> None:
    path = checkpoint(name)
    pipeline = transformers.pipeline("image-text-to-text", model=str(path))
    questions = ["how many cars?", "is there a bus in the picture, or a lorry?"]
    model = load_model("transformers", {"checkpoint": str(path), "max_tokens": 8})
    prompts = [Prompt.parse(f"ask:{each}") for each in questions]
    seen: list[int] = []
    model.parts.network.model.visual.register_forward_hook(lambda *_: seen.append(1))  # type: ignore[attr-defined]
    answers = model.answer([FRAME, frame(1)], [0, 0, 1], [*prompts, prompts[0]])
    assert len(seen) == 1
    for k, each in enumerate(questions):
        talk = [
            {"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": each}]}
        ]
        said = pipeline(text=talk, max_new_tokens=8, do_sample=False, return_full_text=False)
        assert answers[k].value.text == said[0]["generated_text"].strip()
    (alone,) = model.answer([frame(1)], [0], [prompts[0]])
    assert alone.value == answers[2].value


@_ARRAYS_OF_TENSORS
@pytest.mark.parametrize("name", ["blip", "git", "paligemma"])
def test_what_has_no_template_for_conversations_is_asked_as_the_librarys_pipeline_asks_it(
    checkpoint, name: str
) -> None:
    path = checkpoint(name)
    pipeline = transformers.pipeline("image-text-to-text", model=str(path))
    model = load_model("transformers", {"checkpoint": str(path), "max_tokens": 8})
    texts = ["how many cars", "a photo of a rather long street"]
    answers = model.answer([FRAME, frame(1)], [0, 1, 0, 1], [Prompt.parse(f"ask:{t}") for t in texts * 2])
    pictures = [PICTURE, Image.fromarray(frame(1).image)]
    for k, answer in enumerate(answers):
        said = pipeline(images=pictures[k % 2], text=texts[k % 2], max_new_tokens=8, return_full_text=False)
        assert answer.value.text == said[0]["generated_text"].strip()
    assert answers[0].value != answers[1].value


def test_what_cannot_be_asked_about_a_picture_says_so_when_it_is_loaded(checkpoint, tmp_path: Path) -> None:
    """Its template was not copied, and without one its processor does not know where the picture goes."""
    copy = Path(shutil.copytree(checkpoint("qwen3_vl"), tmp_path / "copy"))
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(
        ModelUnavailableError,
        match="copy cannot be asked a question about a picture: its processor has no template for conv",
    ):
        load_model("transformers", {"checkpoint": str(copy)})


def test_many_questions_about_one_frame_are_read_so_many_at_once_as_memory_holds(
    checkpoint, monkeypatch
) -> None:
    model: Any = load_model("transformers", {"checkpoint": str(checkpoint("qwen3_vl")), "max_tokens": 3})
    prompts = [Prompt.parse(f"ask:how many {'x' * k}?") for k in range(10)]
    expected = [each.value for each in model.answer([FRAME], [0] * 10, prompts)]
    generate, rows = model.parts.network.generate, []

    def scarce(input_ids: Any, **inputs: Any) -> Any:
        rows.append(len(input_ids))
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return generate(input_ids=input_ids, **inputs)

    patches: list[int] = []
    model.parts.network.model.visual.register_forward_pre_hook(
        lambda _, inputs: patches.append(len(inputs[0]))
    )
    model.answer([FRAME], [0], prompts[:1])
    monkeypatch.setattr(model.parts.network, "generate", scarce)
    found = [each.value for each in model.answer([FRAME], [0] * 10, prompts)]
    assert rows == [8, 4, 2, 2, 2, 2, 2]
    assert found == expected
    assert len(patches) == 2, "the picture is seen once, for one question and for ten"
    assert patches[0] == patches[1]
    rows.clear()
    model.answer([FRAME], [0] * 4, prompts[:4])
    assert rows == [2, 2], "it remembers"


def test_florence_2_is_asked_and_read_as_its_library_does(checkpoint) -> None:
    path = checkpoint("florence")
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


def test_florence_2_refers_to_the_inside_of_the_outlines_that_its_library_reads(checkpoint) -> None:
    path, task = checkpoint("florence"), "<REFERRING_EXPRESSION_SEGMENTATION>"
    network = transformers.Florence2ForConditionalGeneration.from_pretrained(path).eval()
    processor = transformers.AutoProcessor.from_pretrained(path)
    inputs = processor(images=PICTURE, text=f"{task}a bus", return_tensors="pt")
    written = network.generate(**inputs, max_new_tokens=24, num_beams=3, do_sample=False)
    text = processor.batch_decode(written, skip_special_tokens=False)[0].replace("<pad>", "")
    found = processor.post_process_generation(text, task=task, image_size=(128, 72))[task]["polygons"]
    inside, edge = np.zeros(SIZE[0], np.bool_), np.zeros(SIZE[0], np.bool_)
    ys, xs = np.mgrid[: SIZE[0][0], : SIZE[0][1]]
    for corners in (np.array(each).reshape(-1, 2) for thing in found for each in thing):
        crossings = np.zeros(SIZE[0], np.int64)
        for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            along = np.clip(
                ((xs - x1) * (x2 - x1) + (ys - y1) * (y2 - y1)) / max(1, (x2 - x1) ** 2 + (y2 - y1) ** 2),
                0,
                1,
            )
            edge |= np.hypot(xs - x1 - along * (x2 - x1), ys - y1 - along * (y2 - y1)) < 1.5
            if y1 != y2:
                crossings += ((y1 <= ys) != (y2 <= ys)) & (xs < x1 + (ys - y1) * (x2 - x1) / (y2 - y1))
        inside |= crossings % 2 == 1
    value = ours(path, "refer:a bus", max_tokens=24)
    np.testing.assert_array_equal((value.labels > 0)[~edge], inside[~edge])
    assert inside[~edge].sum() > 100
    assert (value.names, value.scores.tolist()) == (("a bus",), [1.0])
