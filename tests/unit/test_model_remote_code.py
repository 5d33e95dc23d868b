"""Models that bring their own Python code: run only if that is said, called as such models are published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plantain.operators.errors import ModelError, ModelUnavailableError, UsageError
from plantain.operators.models import load_model
from plantain.operators.prompts import Prompt
from plantain.operators.types import Failure
from tests import checkpoints
from tests.checkpoints.coded import own_modules  # noqa: F401 - a fixture of every test here
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here
from tests.contract.test_model_backends import frame

RED = "semantic[background=#000000]:bright=#ff0000"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return checkpoints.coded(tmp_path_factory.mktemp("remote") / "banana")


def model(folder: Path, **options: Any) -> Any:
    return load_model("remote-code", {"checkpoint": str(folder), "trust_remote_code": True, **options})


def test_its_drawings_are_decoded(folder: Path) -> None:
    made, shown = model(folder, at_once=2), [frame(0), frame(1)]
    prompts = [Prompt.parse(RED)] * 2
    answers = made.answer(shown, [0, 1], prompts)
    for each, answer in zip(shown, answers, strict=True):
        picture = each.info.fit.crop(each.image).mean(axis=2)
        assert answer.value.labels.shape == picture.shape
        assert answer.value.names == ("bright",)
        assert ((answer.value.labels > 0) == (picture > 127.5)).mean() > 0.9
    assert isinstance(made.answer(shown, [0], [Prompt.parse("depth")])[0].value.off_palette, float)


def test_its_predictions_are_values(folder: Path) -> None:
    made = model(folder, asks="task")
    shown = frame(0)
    picture = shown.info.fit.crop(shown.image).mean(axis=2) / 255
    prompts = [Prompt.parse(each) for each in ("depth", "semantic:dark,bright", "normals")]
    depth, classes, normals = (each.value for each in made.answer([shown], [0, 0, 0], prompts))
    np.testing.assert_allclose(depth.depth_m, picture * 10 + 3, atol=1e-4)
    assert classes.names == ("bright",)
    np.testing.assert_array_equal(classes.labels > 0, picture > 0.5)
    assert (normals.normals[..., 2] == 1).all()


def test_code_is_run_only_if_it_is_trusted_and_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="trust_remote_code: true"):
        model(folder, trust_remote_code=False)
    with pytest.raises(ModelUnavailableError, match="brings no model in Python code of its own"):
        model(checkpoints.segformer(tmp_path / "segformer"))
    with pytest.raises(UsageError, match="asks is 'words': use text or task"):
        model(folder, asks="words")


def test_code_that_is_called_otherwise_is_named_and_other_code_is_another_model(
    folder: Path, tmp_path: Path
) -> None:
    made = model(folder)
    with pytest.raises(ModelError, match="neither images nor predictions"):
        made.answer([frame(0)], [0], [Prompt.parse("normals")])
    (answer,) = model(folder, asks="task").answer([frame(0)], [0], [Prompt.parse("depth")])
    assert not isinstance(answer.value, Failure)
    before = made.fingerprint
    (folder / "more.py").write_text("# more\n")
    assert model(folder).fingerprint != before
