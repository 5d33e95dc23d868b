"""The lens that is fitted to rendered frames and to real ones cut smaller: what it follows, what it leaves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from plantain.deploy.cli.app import app
from plantain.operators.models.plantain import lens, weights
from plantain.operators.models.plantain.network import Network
from plantain.operators.models.plantain.text import Vocabulary
from plantain.operators.models.plantain.training import focusing, naming, questions, shards
from tests.unit.test_model_streets import add, street_map


@pytest.mark.parametrize(
    ("height", "width", "share"), [(90, 160, 0.5), (91, 161, 0.73), (1, 1, 0.5), (64, 96, 1.0)]
)
def test_a_middle_shows_what_a_longer_lens_would(height: int, width: int, share: float) -> None:
    across = np.tile(np.arange(width, dtype=np.uint8), (height, 1))
    part, left = focusing.middle(np.stack([across] * 3, -1), share)
    assert left == part.shape[1] / width
    assert abs(left - share) <= 1 / width
    assert abs((int(part[0, 0, 0]) + int(part[0, -1, 0])) / 2 - (width - 1) / 2) <= 0.5
    whole = math.radians(lens.hfov_deg(lens.log_focal(60.0) - math.log(left)))
    assert math.tan(whole / 2) == pytest.approx(left * math.tan(math.radians(30)))


def test_pairs_take_a_fit_from_what_only_rendered_frames_show() -> None:
    """One feature follows the lens faintly everywhere; another one tells it in rendered frames, by what they show."""
    rng = np.random.default_rng(0)
    focals = rng.normal(0, 0.3, 600)
    seen = np.stack(
        [focals + rng.normal(0, 0.3, 600), focals + rng.normal(0, 0.1, 600), rng.normal(0, 1, 600)], 1
    )
    shares = rng.uniform(0.05, 0.7, 800)
    steps = np.stack([shares + rng.normal(0, 0.3, 800), rng.normal(0, 0.1, 800), rng.normal(0, 1, 800)], 1)

    def followed(weight: np.ndarray) -> float:
        return float((steps @ weight[0]) @ shares / (shares @ shares))

    alone, bias = focusing.fitted(seen, focals, seen[:0], steps[:0], shares[:0])
    paired, _ = focusing.fitted(seen, focals, seen[:0], steps, shares)
    assert np.abs(seen @ alone[0] + bias[0] - focals).mean() < 0.12
    assert followed(alone) < 0.35
    assert followed(paired) > 1.7 * followed(alone)
    assert (
        np.abs(seen @ alone[0] + bias[0] - focals).mean() < 2 * np.exp(lens_spread(seen, alone, bias)).mean()
    )


def lens_spread(seen: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    middle, reach = focusing.LOG_SPREAD
    return middle + reach * np.tanh(seen @ weight[1] + bias[1])


def test_nothing_but_the_lens_and_the_names_of_given_weights_is_fitted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(naming, "STEPS", 3)
    monkeypatch.setattr(naming, "BATCH", 4)
    given, streets, out = tmp_path / "given.safetensors", tmp_path / "streets", tmp_path / "out"
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(questions.all_words())
    weights.save(given, Network(vocabulary.num_ids), vocabulary, {"steps": "7"})
    for name in ("a", "b"):
        add(streets, name, street_map())
    shards.render(out / "scenes", 0, 2, "train", 8, size_hw=(64, 96))
    words = ["train", "--steps", "0", "--init", str(given), "--streets", str(streets), "--calibrate", "0"]
    result = CliRunner().invoke(app, [*words, "--out", str(out)])
    assert result.exit_code == 0, result.output
    before, after = (
        weights.load(given)[0].state_dict(),
        weights.load(out / "weights.safetensors")[0].state_dict(),
    )
    changed = {name for name, each in after.items() if not torch.equal(each, before[name])}
    assert changed == {
        f"decoder.{layer}.{what}" for layer in ("to_lens", "to_query") for what in ("weight", "bias")
    }
    assert weights.notes(out / "weights.safetensors") == {"steps": "7"}


def test_a_picture_is_looked_at_as_a_model_does(tmp_path: Path) -> None:
    """A frame of another size and shape is padded below to whole strides; the layer reads as many numbers."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(questions.all_words())
    network = Network(vocabulary.num_ids).eval()
    eye = focusing._Eye(network, vocabulary)
    picture = np.asarray(Image.effect_noise((300, 100), 40).convert("RGB"))
    assert eye.look(picture).shape == (network.decoder.to_lens.in_features,)
    assert not np.allclose(eye.look(picture), eye.look(focusing.middle(picture, 0.5)[0]))


@pytest.mark.parametrize("level", [-0.6, 0.8])
def test_pictures_of_nobody_known_are_taken_for_those_of_usual_cameras(level: float) -> None:
    """What they have in common, and rendered frames have not, does not carry the estimate away."""
    rng = np.random.default_rng(1)
    focals = rng.normal(0, 0.3, 4000)
    seen = np.stack([focals + rng.normal(0, 0.1, 4000), rng.normal(0, 1, 4000)], 1)
    wholes = np.stack([level + rng.normal(0, 0.1, 4000), 3 + rng.normal(0, 1, 4000)], 1)
    usual = lens.log_focal(focusing.USUAL_HFOV_DEG)
    none = np.zeros((0, 2)), np.zeros(0)

    def off(pictures: np.ndarray) -> float:
        weight, bias = focusing.fitted(seen, focals, pictures, *none)
        return abs(float((wholes @ weight[0] + bias[0]).mean()) - usual)

    assert off(wholes) < 0.3 * off(wholes[:0])
