"""The generator: words in, pictures out, and how it is taught and scored."""

import json
import shutil
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from plantain.deploy.cli.app import app
from plantain.operators.answers import codec_for
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import ModelError
from plantain.operators.models import spec_of
from plantain.operators.models.plantain import drawing, weights
from plantain.operators.models.plantain.evaluation import recognition
from plantain.operators.models.plantain.generator import CHANNELS, SKETCH_HW, Generator
from plantain.operators.models.plantain.model import WEIGHTS, EmbeddedModel
from plantain.operators.models.plantain.network import Network
from plantain.operators.models.plantain.text import MAX_WORDS, Vocabulary
from plantain.operators.models.plantain.training import shards
from plantain.operators.models.plantain.training.drafting import DraftOptions, Drafts, losses, train
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import Scene, Setting, described, descriptions
from plantain.operators.vocabulary import CLASSES, class_of


@pytest.fixture(scope="module")
def untaught(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(["red car", "road", "sky"])
    path = tmp_path_factory.mktemp("weights") / "untaught.safetensors"
    weights.save(path, Network(vocabulary.num_ids), vocabulary, {})
    return path


@pytest.fixture(scope="module")
def shots(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    assert shards.render(folder, 0, 3, "train", 100, size_hw=(224, 384), shots_per_scene=1) == 3
    return folder


@pytest.fixture(scope="module")
def taught(untaught, shots, tmp_path_factory) -> Path:
    options = DraftOptions(tmp_path_factory.mktemp("run"), shots, untaught, steps=3, batch_size=4, loaders=0)
    return train(options)


def test_a_description_says_what_is_there_and_nothing_else():
    road, car = CLASSES.index("road"), CLASSES.index("car")
    class_map = np.full((50, 80), road, np.uint8)
    class_map[:10, :20] = car
    class_map[49, :2] = CLASSES.index("bus")  # too small to speak of
    setting = Setting("street", "night", is_wet=True)
    said = [
        described(setting, class_map, ["the red car", "the leftmost blue bus"], np.random.default_rng(seed))
        for seed in range(200)
    ]
    sentences, named = [words for words, _ in said], {name for _, names in said for name in names}
    assert named == {"road", "car"}
    assert any("wet" in words and "night" in words for words in sentences)
    assert any(f"red {noun}" in words for words in sentences for noun in ("car", "auto", "taxi", "sedan"))
    assert not any("blue" in words or "bus" in words.split() for words in sentences)
    longest = max(len(words.split()) for words in sentences)
    known = Vocabulary.of(descriptions.all_words())
    assert all(known.known(word) for words in sentences for word in words.split() if word != "a")
    assert longest <= MAX_WORDS + 3  # articles do not count


def test_every_layout_and_weather_has_words():
    for seed in range(20):
        setting = Scene(seed, size_hw=(16, 16)).setting
        assert setting.layout in descriptions.PLACES
        assert setting.weather in descriptions.TIMES


def test_shots_remember_their_setting(shots):
    path = shards.files(shots)[0]
    assert shards.load(path).setting == Scene(int(path.stem) // 1, size_hw=(16, 16)).setting


def test_an_untaught_generator_is_refused(untaught):
    model = EmbeddedModel(untaught, device="cpu", dtype="float32")
    with pytest.raises(ModelError, match="not taught"):
        model.render(np.zeros((1, 64, 96, 3), np.uint8), [0], [Prompt.parse("generate:a wet street")])


def test_words_that_it_never_met_are_passed_over_and_nothing_else_is_refused(taught, monkeypatch):
    model = EmbeddedModel(taught, device="cpu", dtype="float32")
    blank = np.zeros((1, 64, 96, 3), np.uint8)
    with pytest.raises(ModelError, match="it draws streets"):
        model.render(blank, [0], [Prompt.parse("generate:qwertz uiop")])
    drawn = []
    monkeypatch.setattr(
        Generator,
        "draw",
        lambda self, words, *rest: drawn.append(words) or torch.zeros(224, 384, 3, dtype=torch.uint8),
    )
    model.render(blank, [0], [Prompt.parse("generate:a qwertz street with bananas and two cars")])
    assert drawn == ["street with and cars"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_words_give_the_same_picture_whatever_else_is_asked(taught, dtype, monkeypatch):
    monkeypatch.setattr(Generator, "sketch", partialmethod(Generator.sketch, steps=3))
    model = EmbeddedModel(taught, device="cpu", dtype=dtype)
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    street, car, depth = (
        Prompt.parse(text) for text in ("generate:A  wet street", "generate:a red car", "depth")
    )
    alone = model.render(frames, [0], [street])[0]
    drawn = model.render(frames, [0, 0, 1, 1], [depth, Prompt.parse("generate:a wet street"), car, depth])
    assert np.array_equal(drawn[1], alone)
    assert not np.array_equal(drawn[2], alone)
    assert np.array_equal(drawn[3], model.render(frames[1:], [0], [depth])[0])
    again = EmbeddedModel(taught, device="cpu", dtype=dtype).render(frames, [1], [street])[0]
    assert np.array_equal(again, alone)


def test_verbatim_prompts_for_an_image_are_drawn_too(taught):
    model = EmbeddedModel(taught, device="cpu", dtype="float32")
    blank = np.zeros((1, 64, 96, 3), np.uint8)
    prompts = [Prompt.parse(text) for text in ("prompt[codec=image]:a street", "generate:a street")]
    verbatim, generated = model.render(blank, [0, 0], prompts)
    assert np.array_equal(verbatim, generated)


def test_teaching_the_generator_changes_nothing_else(untaught, taught):
    before, _ = weights.load(untaught)
    after, vocabulary = weights.load(taught)
    assert vocabulary.known("the dusk") == "dusk"
    held = before.state_dict()
    for name, value in after.state_dict().items():
        if name.startswith("generator."):
            continue
        assert torch.equal(value[: len(held[name])] if value.dim() else value, held[name]), name
    assert int(after.generator.lessons) == 3
    assert not torch.equal(
        after.generator.leave.weight, torch.zeros_like(after.generator.leave.weight)
    )  # where it began


def test_finishing_leaves_the_sketches_as_they_are(taught, shots, tmp_path):
    options = DraftOptions(tmp_path, shots, taught, steps=2, batch_size=2, loaders=0, finishing=True)
    before, after = (weights.load(path)[0].generator for path in (taught, train(options)))
    assert int(after.lessons) == int(before.lessons) + 2
    held = before.state_dict()
    changed = {name for name, value in after.state_dict().items() if not torch.equal(value, held[name])}
    assert changed - {"lessons"}
    assert all(name.startswith("finisher.") for name in changed - {"lessons"})


def test_a_run_goes_on_from_its_checkpoint(untaught, shots, tmp_path):
    for steps in (2, 4):
        path = train(DraftOptions(tmp_path, shots, untaught, steps=steps, batch_size=4, loaders=0))
        assert int(weights.load(path)[0].generator.lessons) == steps


def test_it_is_taught_from_the_command_line(untaught, shots, tmp_path):
    shutil.copytree(shots, tmp_path / "run" / "scenes")
    command = ["train", "--generator", "--init", str(untaught), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*command, "--steps", "1", "--batch", "2"])
    assert done.exit_code == 0, done.output
    assert int(weights.load(tmp_path / "run" / "weights.safetensors")[0].generator.lessons) == 1
    refused = CliRunner().invoke(app, command)
    assert "add --resume" in str(refused.exception)


def test_it_learns_the_way_to_a_picture(shots):
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(descriptions.all_words())
    generator = Generator(vocabulary.num_ids)
    batch = next(iter(Drafts(shots, vocabulary, 4, seed=0)))
    assert batch.sketches.shape == (4, CHANNELS, *SKETCH_HW)
    assert float(batch.sketches.abs().max()) <= 2
    optimiser = torch.optim.Adam(generator.parameters(), lr=2e-3)

    def taught(name: str, steps: int) -> list[float]:
        errors = []
        for _ in range(steps):
            error = losses(generator, batch, torch.Generator().manual_seed(1))[name]
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
            errors.append(error.item())
        return errors

    flow = taught("flow", 10)
    assert flow[-1] < 0.85 * flow[0]
    detail = taught("detail", 20)
    assert detail[-1] < 0.9 * detail[0]


@pytest.mark.parametrize("size_hw", [(224, 384), (100, 100), (300, 120), (448, 768)])
def test_a_picture_fills_any_canvas_around_its_middle(size_hw):
    picture = torch.zeros(224, 384, 3, dtype=torch.uint8)
    picture[102:122, 182:202] = 255
    filled = drawing.filling(picture, size_hw).numpy()
    assert filled.shape == (*size_hw, 3)
    rows, columns = np.nonzero(filled[..., 0] > 128)
    assert abs(rows.mean() + 0.5 - size_hw[0] / 2) < 1
    assert abs(columns.mean() + 0.5 - size_hw[1] / 2) < 1


class _Copyist:
    """Sees a picture's class in its colour, and draws what `shows` says of a description."""

    name, fingerprint = "copyist", "0"

    def __init__(self, shows):
        self.shows = shows

    def render(self, images, image_of, prompts):
        drawn = []
        for index, prompt in zip(image_of, prompts, strict=True):
            if prompt.codec == "image":
                drawn.append(self.shows(prompt.text, images.shape[1:]))
                continue
            labels = (images[index, ..., 0] // 10).astype(np.uint16)
            labels[labels > len(prompt.classes)] = 0
            value = Masks(labels, prompt.classes, np.ones(len(prompt.classes), np.float32), 0.0)
            drawn.append(codec_for(prompt).encode(value, prompt))
        return np.stack(drawn)

    def close(self):
        pass


def _stripes(text, shape):
    """A stripe for each class that the text names."""
    picture = np.zeros(shape, np.uint8)
    names = [class_of(word) for word in text.split()]
    for row, name in enumerate(name for name in names if name):
        picture[20 * row : 20 * row + 20] = 10 * CLASSES.index(name)
    return picture


def test_a_generator_that_obeys_is_told_from_one_that_does_not():
    obedient = _Copyist(_stripes)
    made = recognition.drawings(obedient, 8, (64, 96))
    found = recognition.recognised(obedient, made)
    assert found["drawn"] > 0.8  # two words in one, such as "street lamp", are not stripes
    assert found["chance"] < found["drawn"]
    low, high = found["drawn_ci"]
    assert low <= found["drawn"] <= high
    stubborn = _Copyist(lambda text, shape: _stripes("sky road", shape))
    found = recognition.recognised(stubborn, recognition.drawings(stubborn, 8, (64, 96)))
    assert found["drawn"] == pytest.approx(found["chance"], abs=0.3)


def test_the_weights_of_the_package_draw_day_and_night():
    assert WEIGHTS.stat().st_size < 16_000_000
    model = EmbeddedModel()
    blank = np.zeros((1, *spec_of("embedded").model_hw, 3), np.uint8)

    def brightness(words: str) -> float:
        return float(model.render(blank, [0], [Prompt.parse(f"generate:{words}")]).mean())

    places = ("street", "motorway", "square", "car park")
    days, nights = ([brightness(f"a {place} {time}") for place in places] for time in ("by day", "at night"))
    assert np.mean(nights) < 0.85 * np.mean(days)


def test_drawings_are_scored_and_shown(tmp_path):
    options = ["eval", "--generate", "--scenes", "2", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, [*options, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert set(told) == {"page", *(f"{name}{end}" for name in recognition.MEASURES for end in ("", "_ci"))}
    page = Path(told["page"]).read_text()
    assert page.count("<img") == 2
    refused = CliRunner().invoke(app, [*options, "--model", "fake"])
    assert refused.exit_code == 1
    assert "fake model" in str(refused.exception)
