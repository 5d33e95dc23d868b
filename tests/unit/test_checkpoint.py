from __future__ import annotations

import pytest

from plantain.operators.errors import UsageError
from plantain.operators.segments import Durable, Position
from plantain.operators.sinks.store import Store
from plantain.pipeline.checkpoint import ATTEMPTS, Checkpoints

RUN = {"model": "fake", "prompts": ["depth"], "streams": {"clip": ["clip.mp4"]}}


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path))


def test_what_is_durable_is_read_back_as_it_was(store):
    checkpoints = Checkpoints(store)
    durable = Durable(
        "clip", 2, Position(40, 1600, 38), '{"next_id": 3}', (("analyse", 1), ("infer", 2)), True
    )
    assert checkpoints.load("clip") is None
    checkpoints.save([durable])
    assert checkpoints.load("clip") == durable


def test_the_same_run_is_resumed(store):
    Checkpoints(store).begin(RUN, resume=True)
    Checkpoints(store).save([Durable("clip", 0, Position(8, None, 8))])
    again = Checkpoints(store)
    again.begin({**RUN, "prompts": ("depth",)}, resume=True)
    assert again.load("clip") is not None


def test_another_run_is_refused_with_what_differs(store):
    Checkpoints(store).begin(RUN, resume=True)
    Checkpoints(store).save([Durable("clip", 0, Position(8, None, 8))])
    with pytest.raises(
        UsageError, match=r"other settings \(model, rasters\): choose another --out, or --no-resume"
    ):
        Checkpoints(store).begin({**RUN, "model": "embedded", "rasters": True}, resume=True)


def test_a_folder_that_has_gained_and_lost_a_video_goes_on(store):
    checkpoints = Checkpoints(store)
    checkpoints.begin(RUN, resume=True)
    checkpoints.save([Durable("clip", 0, Position(8, None, 8))])
    checkpoints.begin({**RUN, "streams": {"other": ["other.mp4"]}}, resume=True)
    assert sorted(checkpoints.streams()) == ["clip", "other"]
    assert checkpoints.load("clip") is not None


def test_a_stream_that_became_another_is_refused(store):
    checkpoints = Checkpoints(store)
    checkpoints.begin(RUN, resume=True)
    checkpoints.save([Durable("clip", 0, Position(8, None, 8))])
    with pytest.raises(UsageError, match=r"streams\.clip"):
        checkpoints.begin({**RUN, "streams": {"clip": ["elsewhere.mp4"]}}, resume=True)


def test_parts_without_a_checkpoint_are_results_too(store):
    Checkpoints(store).begin(RUN, resume=True)
    store.put("frames/stream=clip/part-0000-000000.parquet", b"")
    with pytest.raises(UsageError):
        Checkpoints(store).begin({**RUN, "model": "embedded"}, resume=True)


def test_another_run_is_fine_where_nothing_was_stored(store):
    Checkpoints(store).begin(RUN, resume=True)
    Checkpoints(store).begin({**RUN, "model": "embedded"}, resume=True)


def test_starting_over_forgets_the_checkpoints_but_knows_the_earlier_streams(store):
    checkpoints = Checkpoints(store)
    assert checkpoints.streams() == []
    checkpoints.begin(RUN, resume=True)
    checkpoints.save([Durable("clip", 0, Position(8, None, 8))])
    assert checkpoints.streams() == ["clip"]
    checkpoints.begin({**RUN, "streams": {"other": ["other.mp4"]}}, resume=False)
    assert checkpoints.load("clip") is None
    assert checkpoints.streams() == ["other"]


def test_a_file_that_is_added_again_must_be_asked_the_same(tmp_path):
    checkpoints = Checkpoints(Store(str(tmp_path)))
    checkpoints.begin({"streams": {}}, resume=True)
    checkpoints.admit("film", ["a.mp4", ["depth"]])
    checkpoints.admit("film", ["a.mp4", ["normals"]])  # nothing of it is stored yet
    checkpoints.save([Durable("film", 0, Position(10, 400, 10))])
    checkpoints.admit("film", ["a.mp4", ["normals"]])
    with pytest.raises(UsageError, match="results of a stream 'film' with other settings"):
        checkpoints.admit("film", ["a.mp4", ["depth"]])
    checkpoints.begin({"streams": {}}, resume=False)
    checkpoints.admit("film", ["a.mp4", ["depth"]])


def test_a_run_that_starts_over_forgets_how_far_its_sinks_were(store):
    store.put(".plantain/streams/clip.kafka", b"{}")
    Checkpoints(store).begin(RUN, resume=True)
    assert store.get(".plantain/streams/clip.kafka") is not None
    Checkpoints(store).begin(RUN, resume=False)
    assert store.get(".plantain/streams/clip.kafka") is None


def test_what_is_forgotten_is_forgotten_by_sinks_too(store):
    """Or what a broker has of the film before counts for the one in its place."""
    checkpoints = Checkpoints(store)
    checkpoints.begin(RUN, resume=True)
    checkpoints.save([Durable("clip", 0, Position(8, None, 8))])
    for name in ("clip", "other"):
        store.put(f"{ATTEMPTS}/{name}.kafka", b"1")
    checkpoints.forget("clip")
    assert checkpoints.load("clip") is None
    assert [store.get(f"{ATTEMPTS}/{name}.kafka") for name in ("clip", "other")] == [None, b"1"]


def test_a_stream_that_is_where_it_was_is_no_other_for_how_its_path_is_spelled(store):
    checkpoints = Checkpoints(store)
    run = {"streams": {"clip": ["in/a.mp4", ["depth"], "all", "1"]}}
    checkpoints.begin(run, resume=True, locations={"clip": "here"})
    checkpoints.save([Durable("clip", 0, Position(8, None, 8))])
    spelled = {"streams": {"clip": ["/d/in/a.mp4", ["depth"], "all", "2"]}}
    Checkpoints(store).begin(spelled, resume=True, locations={"clip": "here"})
    assert Checkpoints(store).names()["clip"][0] == "/d/in/a.mp4"
    for other, location in (
        (["/d/b.mp4", ["depth"], "all", "3"], "there"),
        (["/d/in/a.mp4", ["normals"], "all", "2"], "here"),
        (["/d/in/b.mp4", ["depth"], "all", "2"], None),
    ):
        locations = {} if location is None else {"clip": location}
        with pytest.raises(UsageError, match=r"streams\.clip"):
            Checkpoints(store).begin({"streams": {"clip": other}}, resume=True, locations=locations)
