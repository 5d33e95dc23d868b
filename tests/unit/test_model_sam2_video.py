"""SAM 2 and EdgeTAM on streams: they follow what another model finds, as their library does."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.errors import ModelUnavailableError, UsageError
from plantain.operators.models import load_model, spec_of
from plantain.operators.models.base import Answer
from plantain.operators.models.specialists import sessions
from plantain.operators.models.specialists.sam2_video import Sam2Video
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure
from tests import checkpoints
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here
from tests.unit.test_model_sam3_video import frame, identities, on_top

CAR = Prompt.parse("detect:car")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sam2")
    checkpoints.sam2_video(folder / "sam2")
    checkpoints.owlv2(folder / "owlv2")
    checkpoints.edgetam_video(folder / "edgetam")
    return folder


def model(root: Path, name: str = "sam2", **options: Any) -> Sam2Video:
    finder = {"finder": str(root / "owlv2"), "finder_options": {"threshold": 0.85, "device": "cpu"}}
    made = load_model(f"{name}-video", {"checkpoint": str(root / name), **finder, **options})
    assert isinstance(made, Sam2Video)
    return made


def boxes(made: Sam2Video, number: int, prompt: Prompt = CAR) -> Any:
    (answer,) = made.answer([frame(number)], [0], [prompt])
    return answer.value


@pytest.mark.parametrize(("name", "cls"), [("sam2", "Sam2VideoModel"), ("edgetam", "EdgeTamVideoModel")])
def test_what_is_found_is_followed_as_by_the_librarys_session_which_grows(
    root: Path, name: str, cls: str
) -> None:
    made = model(root, name, look_every=1000, finder_options={"threshold": 0.8})
    start = frame(0)
    look = made._found("car", made._picture(start))
    found, sure = look.xyxy, look.scores  # type: ignore[union-attr]  # it sees something
    assert len(found) > 1
    network = getattr(transformers, cls).from_pretrained(root / name).eval()
    processor = transformers.AutoProcessor.from_pretrained(root / name)
    whole = processor.init_video_session()
    sizes, grown = [], []
    for number in range(24):
        pixels = torch.from_numpy(frame(number).image).permute(2, 0, 1)
        inputs = processor(images=pixels, return_tensors="pt")
        if number == 0:
            ids = list(range(len(found)))
            processor.add_inputs_to_inference_session(
                whole, frame_idx=0, obj_ids=ids, input_boxes=[found.tolist()], original_size=[112, 112]
            )
        with torch.inference_mode():
            outputs = network(inference_session=whole, frame=inputs["pixel_values"][0])
        masks = processor.post_process_masks(
            [outputs.pred_masks], original_sizes=[[112, 112]], binarize=True
        )[0]
        theirs = masks.reshape(-1, 112, 112).numpy()
        value, drawn = (
            each.value for each in made.answer([frame(number)], [0, 0], [CAR, Prompt.parse("instances:car")])
        )
        np.testing.assert_array_equal(identities(drawn), on_top(theirs, range(len(theirs)), sure))
        shown = [k for k, mask in enumerate(theirs) if mask.any()]
        assert list(value.track_ids) == shown
        for row, k in enumerate(shown):
            ys, xs = np.where(theirs[k])
            edges = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
            np.testing.assert_allclose(value.xyxy[row], start.info.fit.to_source(edges)[0], atol=1e-3)
        if number in (18, 21, 23):
            sizes.append(len(pickle.dumps(made._sessions["cam"][1].session)))
            grown.append(len(pickle.dumps(whole)))
    assert max(sizes) < 1.02 * sizes[0]
    assert grown[-1] > 1.2 * grown[0]


def test_new_things_are_looked_for_every_few_frames_and_known_ones_keep_their_numbers(root: Path) -> None:
    made, looks = model(root, look_every=3), []
    find = made._finder.answer
    made._finder.answer = lambda *arguments: (looks.append(1), find(*arguments))[1]  # type: ignore[method-assign]
    seen = [set(boxes(made, 0).track_ids) for _ in range(4)]
    assert len(looks) == 2
    assert seen[0]
    assert all(seen[0] <= each for each in seen)
    boxes(made, 0, Prompt.parse("detect:bus"))
    assert len(looks) == 3, "a phrase that is new is looked for at once"
    made.forget("cam")
    assert not set(boxes(made, 0).track_ids) & seen[0]


def test_what_its_finder_cannot_say_is_no_frame_without_things(root: Path) -> None:
    made = model(root, look_every=1000)
    find, why = made._finder.answer, Failure("infer", "too little memory", retryable=True)
    assert boxes(made, 0).names
    made._finder.answer = lambda *_: [Answer(why)]  # type: ignore[method-assign]
    assert boxes(made, 1).names, "nobody looks, so nothing fails"
    car, bus = made.answer([frame(2)], [0, 0], [CAR, Prompt.parse("detect:car,bus")])
    assert (bool(car.value.names), bus.value) == (True, why)
    made._finder.answer = find  # type: ignore[method-assign]
    assert boxes(made, 3, Prompt.parse("detect:bus")) != why, "it is looked for again at once"


def test_things_that_are_not_seen_are_given_up(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(sessions, "FORGET_AFTER", 1)
    made = model(root, look_every=1000)
    assert boxes(made, 0).names
    session = made._sessions["cam"][1].session
    torch.nn.init.constant_(made.parts.network.mask_decoder.pred_obj_score_head.proj_out.bias, -1e4)
    for number in range(1, 5):
        last = boxes(made, number)
    assert not last.names
    assert not session.obj_ids
    assert boxes(made, 5).names == (), "and a frame without things is a frame"


def test_no_more_things_are_followed_than_it_may_hold_and_the_lost_go_first(root: Path) -> None:
    made = model(root, look_every=1, max_objects=2, finder_options={"threshold": 0.5})
    found = made._found("car", made._picture(frame(0)))
    assert isinstance(found, Boxes)
    assert len(found.names) > 2
    first = boxes(made, 0)
    followed = made._sessions["cam"][1]
    surest = sorted(found.scores.tolist())[-2:]
    assert sorted(score for _, score in followed.names.values()) == pytest.approx(surest)
    for number in range(1, 8):
        boxes(made, number)
        assert len(followed.session.obj_ids) == len(followed.names) == 2
    assert {*followed.names} == {*first.track_ids}, "what is seen is kept"
    one, other = followed.session.obj_ids
    followed.session._shown_at[one] = followed.session.seen - 3
    boxes(made, 8)
    assert one not in followed.names
    assert other in followed.names
    assert len(followed.names) == 2, "in its place came a new one"


def test_phrases_that_nobody_asks_about_any_more_are_given_up(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(sessions, "FORGET_AFTER", 2)
    made, bus = model(root, look_every=1000), Prompt.parse("detect:bus")
    cars = {*boxes(made, 0).track_ids}
    assert cars
    buses = {*boxes(made, 0, bus).track_ids}
    followed = made._sessions["cam"][1]
    for _ in range(2):
        boxes(made, 0, bus)
    assert {name for name, _ in followed.names.values()} == {"bus"}
    assert {*followed.session.obj_ids} == {*followed.names} >= {*followed.places} == buses
    assert set(followed.looked_at) == {"bus"}
    assert not {*boxes(made, 0).track_ids} & cars, "who asks again, begins anew"


def test_a_finder_has_options_of_its_own_and_shares_the_others(root: Path) -> None:
    made = model(root, dtype="bfloat16", device="cpu")
    assert (made._finder.parts.dtype, made.parts.dtype) == (torch.bfloat16, torch.bfloat16)
    own = model(root, finder_options={"dtype": "float32"}, dtype="bfloat16")
    assert (own._finder.parts.dtype, own.parts.dtype) == (torch.float32, torch.bfloat16)


def test_a_finder_is_needed_and_must_find_boxes(root: Path, tmp_path: Path) -> None:
    assert spec_of("sam2-video").keeps_streams
    with pytest.raises(UsageError, match="give the option finder"):
        load_model("sam2-video", {"checkpoint": str(root / "sam2"), "finder": ""})
    depth = checkpoints.depth_anything(tmp_path / "depth")
    with pytest.raises(UsageError, match="finds no boxes: it answers depth"):
        load_model("sam2-video", {"checkpoint": str(root / "sam2"), "finder": str(depth)})
    with pytest.raises(ModelUnavailableError, match="sam2-video needs sam2_video"):
        load_model("sam2-video", {"checkpoint": str(root / "owlv2"), "finder": str(root / "owlv2")})
