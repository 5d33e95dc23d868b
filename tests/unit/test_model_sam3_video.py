"""SAM 3 on streams: sessions with an end, which answer as the library's without one."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from plantain.deploy.job import run_job
from plantain.operators.geometry import Letterbox
from plantain.operators.models import load_model, spec_of
from plantain.operators.models.specialists import sessions
from plantain.operators.models.specialists.cv_utils import CvUtils
from plantain.operators.prompts import Prompt
from plantain.operators.sinks.parquet.reading import read_objects
from plantain.operators.types import Failure, Frame, FrameInfo, Header
from plantain.pipeline.config import check
from tests import checkpoints
from tests.assets.clips import make
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here

CAR, BUS = Prompt.parse("instances:car"), Prompt.parse("instances:bus")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return checkpoints.sam3_video(tmp_path_factory.mktemp("video") / "sam3")


@pytest.fixture
def model(folder: Path) -> Any:
    return load_model("sam3-video", {"checkpoint": str(folder)})


def frame(number: int, stream_id: str = "cam", seed: int = 0) -> Frame:
    """Squares, of which a column changes from frame to frame."""
    picture = np.random.default_rng(seed).integers(0, 255, (14, 14, 3)).astype(np.uint8)
    picture[:, number % 14] = 255 - picture[:, number % 14]
    fit = Letterbox.fit((72, 128), (112, 112), "stretch")
    info = FrameInfo(number, Fraction(1, 25), None, "file", fit)
    return Frame(Header(stream_id, 0, number), info, picture.repeat(8, axis=0).repeat(8, axis=1))


def asked(model: Any, number: int, *prompts: Prompt, stream_id: str = "cam", seed: int = 0) -> list[Any]:
    answers = model.answer([frame(number, stream_id, seed)], [0] * len(prompts), prompts)
    return [each.value for each in answers]


def said(value: Any) -> tuple[Any, ...]:
    return value.labels.tolist(), value.names, value.scores.tolist(), value.track_ids


def identities(value: Any) -> np.ndarray:
    """Which thing each pixel shows, (H, W); -1 for none."""
    return np.array([-1, *value.track_ids])[value.labels]


def on_top(masks: np.ndarray, ids: Any, scores: Any) -> np.ndarray:
    """The same of masks (N, H, W) that may overlap: the surest is on top."""
    painted = np.full(masks.shape[1:], -1)
    for k in np.argsort(-np.asarray(scores), kind="stable")[::-1]:
        painted[masks[k]] = ids[k]
    return painted


def test_a_bounded_session_answers_as_one_that_keeps_everything_and_stays_small(
    folder: Path, model: Any
) -> None:
    network = transformers.Sam3VideoModel.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    whole = processor.init_video_session()
    processor.add_text_prompt(whole, ["car"])
    sizes, grown, things, pixels = [], [], 0, 0
    for number in range(26):
        value, drawn = asked(model, number, Prompt.parse("detect:car"), CAR)
        inputs = processor(images=torch.from_numpy(frame(number).image).permute(2, 0, 1), return_tensors="pt")
        with torch.inference_mode():
            outputs = network(inference_session=whole, frame=inputs["pixel_values"])
            found = processor.postprocess_outputs(whole, outputs, original_sizes=[[112, 112]])
        assert list(value.track_ids) == found["object_ids"].tolist()
        np.testing.assert_array_equal(value.scores, found["scores"].numpy())
        masks = found["masks"].numpy().astype(bool).reshape(-1, 112, 112)
        np.testing.assert_array_equal(
            identities(drawn), on_top(masks, found["object_ids"].tolist(), found["scores"].numpy())
        )
        pixels += int((drawn.labels > 0).sum())
        fit = frame(number).info.fit
        np.testing.assert_array_equal(value.xyxy, fit.to_source(found["boxes"].float().numpy()))
        if number in (18, 22, 25):
            sizes.append(len(pickle.dumps(model._sessions["cam"][1])))
            grown.append(len(pickle.dumps(whole)))
        things += len(value.names)
    assert things > 5
    assert pixels > 1000
    assert max(sizes) < 1.02 * sizes[0], "flat, once it looks back as far as it ever does"
    assert grown[-1] > 1.3 * grown[0], "and the library's grows"


def test_of_frames_that_confirmed_an_object_a_session_keeps_all_that_the_tracker_looks_at(
    model: Any, monkeypatch
) -> None:
    """Of a thing that stays, every sixteenth frame confirms it: the library keeps all of them, and reads them."""
    asked(model, 0, CAR)
    session, tracker = model._sessions["cam"][1], model.parts.network.tracker_model
    session.seen = 16 * 40 + 3
    session._asked_at = dict.fromkeys(session.prompts, session.seen)
    told = session.output_dict_per_obj[0]
    told["cond_frame_outputs"] = {
        16 * k: {"object_pointer": torch.full((1, 4), float(k)), "maskmem_features": k, "maskmem_pos_enc": k}
        for k in range(40)
    }

    def looked_at() -> tuple[Any, ...]:
        offsets, pointers, most = tracker._get_object_pointers(session, 0, session.seen, session.seen, "cpu")
        memory = tracker._gather_memory_frame_outputs(session, 0, session.seen)
        features = [each and (at, each["maskmem_features"], each["maskmem_pos_enc"]) for at, each in memory]
        return offsets, [each.tolist() for each in pointers], most, features

    before = looked_at()
    session.forget(session.obj_ids)
    assert looked_at() == before
    kept = told["cond_frame_outputs"]
    assert sum("maskmem_features" in each for each in kept.values()) == sessions.LOOKS_BACK
    monkeypatch.setattr(sessions, "CONFIRMED", 20)
    session.forget(session.obj_ids)
    assert sorted(kept) == [16 * k for k in range(20, 40)]


def test_streams_that_take_turns_are_as_each_alone(folder: Path, model: Any) -> None:
    turns = [
        [said(asked(model, k, CAR, stream_id=s, seed=n)[0])[:3] for n, s in enumerate("ab")] for k in range(3)
    ]
    for n, stream_id in enumerate("ab"):
        alone = load_model("sam3-video", {"checkpoint": str(folder)})
        for k in range(3):
            assert said(asked(alone, k, CAR, stream_id=stream_id, seed=n)[0])[:3] == turns[k][n]


def test_phrases_join_and_leave_while_the_others_keep_their_numbers(model: Any) -> None:
    first = asked(model, 0, CAR)[0].track_ids
    cars, buses = asked(model, 0, CAR, BUS)
    assert buses.names
    session = model._sessions["cam"][1]
    assert set(first) <= set(session.obj_ids), "the same cars"
    assert not set(cars.track_ids) & set(buses.track_ids)
    owners = dict(session.obj_id_to_prompt_id)
    car, bus = session.prompts
    session.drop(bus)
    assert session.obj_ids == [number for number, owner in owners.items() if owner == car]
    again = asked(model, 0, CAR, BUS)[1]
    assert list(session.prompts.values()) == ["car", "bus"]
    assert not set(again.track_ids) & set(buses.track_ids), "a bus of now is none of then"


def test_a_phrase_is_read_once_whatever_streams_and_queries_ask_about_it(model: Any) -> None:
    read: list[int] = []
    encoder = model.parts.network.detector_model.text_encoder
    encoder.register_forward_hook(lambda *_: read.append(1))
    alone = [said(asked(model, 0, prompt, stream_id=f"?{prompt}")[0])[:3] for prompt in (CAR, BUS)]
    assert len(read) == 2
    for stream_id in ("a", "b", "?query"):
        for number in range(2):
            asked(model, number, CAR, BUS, stream_id=stream_id)
        model.forget(stream_id)
        for prompt, expected in zip((CAR, BUS), alone, strict=True):
            assert said(asked(model, 0, prompt, stream_id=stream_id)[0])[:3] == expected
            model.forget(stream_id)
    assert len(read) == 2


def test_a_phrase_that_is_longer_than_the_network_reads_is_cut(model: Any) -> None:
    long = "the car " * 40
    value = asked(model, 0, Prompt.parse(f"refer:{long}"))[0]
    assert not isinstance(value, Failure), value


def test_a_phrase_that_nobody_asks_about_any_more_is_given_up(model: Any, monkeypatch) -> None:
    monkeypatch.setattr(sessions, "FORGET_AFTER", 1)
    asked(model, 0, CAR, BUS)
    session = model._sessions["cam"][1]
    for _ in range(2):
        asked(model, 0, CAR)
    assert list(session.prompts.values()) == ["car"]
    assert set(session.obj_id_to_prompt_id.values()) <= set(session.prompts)
    assert len(session.output_dict_per_obj) == len(session.obj_ids)


def test_a_stream_that_begins_anew_gives_numbers_that_nobody_had(model: Any) -> None:
    before = asked(model, 0, CAR)[0]
    model.forget("cam")
    after = asked(model, 0, CAR)[0]
    assert said(before)[:3] == said(after)[:3]
    assert not set(before.track_ids) & set(after.track_ids)


def test_a_run_binds_streams_to_copies_and_rows_have_its_identities(folder: Path, tmp_path: Path) -> None:
    assert spec_of("sam3-video").keeps_streams
    clip = make(tmp_path / "clip.mp4", 3, size=(112, 112), rate=10)
    config = check(
        {
            "streams": [{"url": str(clip), "id": name} for name in ("s1", "s2")],
            "prompts": ["instances:car"],
            "models": {
                "video": {
                    "name": "sam3-video",
                    "options": {"checkpoint": str(folder)},
                    "canvas": {"width": 112, "height": 112},
                }
            },
            "output": {"out": str(tmp_path / "out")},
        }
    )
    assert run_job(config).exit_code == 0
    rows = read_objects(tmp_path / "out", ["stream_id", "frame_index", "track_id"])
    assert set(rows["stream_id"]) == {"s1", "s2"}
    for name in ("s1", "s2"):
        seen = [
            set(rows["track_id"][(rows["stream_id"] == name) & (rows["frame_index"] == k)]) for k in (0, 2)
        ]
        assert seen[0] & seen[1], "the same things on the first frame and the last"
        assert max(rows["track_id"]) < 1000, "numbered by us"


def test_what_the_library_would_fetch_as_code_is_done_here() -> None:
    ious = torch.tensor([[1, 0.9, 0.1], [0.9, 1, 0.6], [0.1, 0.6, 1]])
    kept = CvUtils().generic_nms(ious, torch.tensor([0.5, 0.9, 0.8]), 0.5, use_iou_matrix=True)
    assert kept.tolist() == [1], "0 and 2 overlap with the surest"
    masks = torch.tensor(
        [[[[1, 0, 0], [0, 1, 0], [0, 0, 0]]], [[[1, 0, 1], [0, 0, 1], [0, 0, 0]]]], dtype=torch.uint8
    )
    labels, counts = CvUtils().cc_2d(masks, get_counts=True)
    assert counts[:, 0].tolist() == [[[2, 0, 0], [0, 2, 0], [0, 0, 0]], [[1, 0, 2], [0, 0, 2], [0, 0, 0]]]
    assert labels[1, 0, 0].tolist() == [1, 0, 2]
