"""How many copies of the model a run has by itself, and what they are given."""

from pathlib import Path

import pytest

from plantain.pipeline import copies
from plantain.pipeline.config import check
from plantain.pipeline.copies import Copies, copies_of
from plantain.pipeline.video import build_graph


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cores and no GPU."""
    monkeypatch.setattr(copies, "num_cores", lambda: 4)
    monkeypatch.setattr(copies, "GPU_DRIVER", Path("/nowhere"))


def of(**settings: object) -> Copies:
    config = check({"streams": [{"url": "synthetic:a"}], "prompts": ["depth"], **settings})
    return copies_of(config, config.model)


ONE = Copies(1, 1, 4, 8, 2)


def test_the_embedded_model_has_a_copy_for_each_core_where_the_stages_are_threads():
    for_each = Copies(4, 4, 1.0, 4, 1)
    assert of() == of(executor="ray", ray={"stages": "threads"}) == for_each
    assert of(executor="ray") == of(executor="inline") == ONE


@pytest.mark.parametrize(
    ("model", "copies"),
    [({"cpus": 2}, 2), ({"options": {"threads": 3}}, 3), ({"options": {"threads": 1}}, 1), ({"cpus": 64}, 8)],
)
def test_it_has_no_more_than_the_cores_it_may_use(model, copies):
    assert of(model=model).most == copies


def test_a_single_copy_is_given_its_next_batch_ahead():
    assert of(model={"cpus": 1}).calls_in_flight == 2


@pytest.mark.parametrize("model", [{"name": "fake"}, {"gpus": 1}, {"options": {"device": "cuda"}}])
def test_other_models_and_gpus_have_one(model):
    assert of(model=model) == ONE


def test_where_there_is_a_gpu_the_embedded_model_takes_it(monkeypatch, tmp_path):
    monkeypatch.setattr(copies, "GPU_DRIVER", tmp_path)
    assert of() == ONE
    assert of(model={"options": {"device": "cpu"}}).most == 4


def test_what_is_written_holds():
    assert of(model={"replicas": 3}, batch={"max_items": 6}) == Copies(3, 3, 4, 6, 2)
    assert of(model={"replicas": {"max": 3}}) == Copies(1, 3, 4, 8, 2)
    assert of(batch={"max_items": 6}).max_items == 6


def test_the_graph_has_them():
    config = check({"streams": [{"url": "synthetic:a"}], "prompts": ["depth"]})
    stage = build_graph(config).stage("infer")
    assert (stage.workers, stage.at_first, stage.batch.max_items, stage.calls_in_flight) == (4, 4, 4, 1)
