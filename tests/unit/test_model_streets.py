import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from plantain.deploy.cli.app import app
from plantain.deploy.cli.scores import streets_of
from plantain.operators.errors import UsageError
from plantain.operators.models.drawn import Drawn
from plantain.operators.models.plantain import weights
from plantain.operators.models.plantain.evaluation.street_scores import STREET_CLASSES, street_scores
from plantain.operators.models.plantain.model import EmbeddedModel
from plantain.operators.models.plantain.network import Guide, Network
from plantain.operators.models.plantain.text import Vocabulary
from plantain.operators.models.plantain.training import losses, questions, shards, streets
from plantain.operators.models.plantain.training.questions import IGNORE
from plantain.operators.models.plantain.training.samples import collate
from plantain.operators.models.plantain.training.stream import Stream
from plantain.operators.models.plantain.training.train import TrainOptions, train
from plantain.operators.prompts import Prompt
from plantain.operators.vocabulary import CLASSES

SIZE = (64, 96)
ROAD, SKY, CAR, PERSON, BUILDING = (
    CLASSES.index(name) for name in ("road", "sky", "car", "person", "building")
)


def add(folder: Path, name: str, class_map: np.ndarray, **said: object) -> None:
    """A picture whose colours follow its labels, and a line about it."""
    for kind in ("img", "sem", "inst"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(0).integers(0, 255, (256, 3)).astype(np.uint8)
    Image.fromarray(colours[class_map]).save(folder / "img" / f"{name}.jpg")
    Image.fromarray(class_map).save(folder / "sem" / f"{name}.png")
    things = np.where(class_map == IGNORE, IGNORE, np.where(class_map == CAR, 1, 0)).astype(np.uint8)
    Image.fromarray(things).save(folder / "inst" / f"{name}.png")
    row = {"id": name, "source": "yard", "complete": [], "labels": "human", "things": []} | said
    with (folder / "manifest.jsonl").open("a") as manifest:
        manifest.write(json.dumps(row) + "\n")


def street_map() -> np.ndarray:
    """Sky over road, a car on it, and a strip that nobody labelled."""
    labels = np.full((80, 120), SKY, np.uint8)
    labels[40:] = ROAD
    labels[50:70, 20:60] = CAR
    labels[:, 100:] = IGNORE
    return labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    things = [{"id": 1, "cls": "car", "by": "human"}]
    add(tmp_path / "set", "a", street_map(), complete=["person"], things=things)
    add(tmp_path / "set", "b", street_map(), source="lane", labels="teacher", things=things)
    return tmp_path / "set"


def one(folder: Path, index: int = 0) -> streets.Street:
    return streets.load(folder, streets.entries(folder)[index])


def asked(folder: Path, phrases: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, index: int = 0):
    """A sample that asks for these phrases, undisturbed."""
    table = np.zeros(256, np.uint8)
    for place, phrase in enumerate(phrases, 1):
        table[CLASSES.index(phrase)] = place
    table[0] = table[len(CLASSES) :] = IGNORE
    monkeypatch.setattr(questions, "semantic", lambda _rng: (phrases, table))
    return streets.sample(one(folder, index), SIZE, np.random.default_rng(0), augmented=False)


def test_a_known_pixel_allows_its_class_alone(folder, monkeypatch):
    made = asked(folder, ("car", "road"), monkeypatch)
    assert set(np.unique(made.answers[made.class_map == CAR])) == {0b010}
    assert set(np.unique(made.answers[made.class_map == ROAD])) == {0b100}
    assert set(np.unique(made.answers[made.class_map == SKY])) == {0b001}


def test_an_unknown_pixel_may_be_anything_but_what_is_labelled_completely(folder, monkeypatch):
    made = asked(folder, ("person", "car"), monkeypatch)
    unknown = made.class_map == IGNORE
    assert unknown.any()
    assert set(np.unique(made.answers[unknown])) == {0b101}
    assert np.all(made.trust[unknown] == np.float32(streets.ABSENCE_TRUST))


def test_where_anything_is_possible_nothing_is_learnt(folder, monkeypatch):
    without = asked(folder, ("person", "car"), monkeypatch, index=1)
    assert set(np.unique(without.answers[without.class_map == IGNORE])) == {0}
    unasked = asked(folder, ("car",), monkeypatch)
    assert set(np.unique(unasked.answers[unasked.class_map == IGNORE])) == {0}


def test_what_a_teacher_labelled_counts_less_than_what_a_person_did(folder):
    rng = np.random.default_rng(0)
    by_people = streets.sample(one(folder, 0), SIZE, rng, augmented=False)
    by_teacher = streets.sample(one(folder, 1), SIZE, rng, augmented=False)
    known = by_people.class_map != IGNORE
    assert np.allclose(by_teacher.trust[known], streets.TEACHER_TRUST * by_people.trust[known])


def test_rare_classes_count_more_but_less_so_than_in_rendered_scenes(folder):
    made = streets.sample(one(folder), SIZE, np.random.default_rng(0), augmented=False)
    weights = losses.class_weights().numpy()[made.class_map]
    known = made.class_map != IGNORE
    assert np.allclose((weights * made.trust)[known], np.sqrt(weights[known]))


@pytest.mark.parametrize(("phrase", "is_told"), [("person", True), ("car", False)])
def test_things_are_taught_where_it_is_known_whether_they_are_there(folder, monkeypatch, phrase, is_told):
    covers = np.zeros(256, np.bool_)
    covers[CLASSES.index(phrase)] = True
    monkeypatch.setattr(questions, "thing", lambda _present, _rng: (phrase, covers))
    made = streets.sample(one(folder), SIZE, np.random.default_rng(0), augmented=False)
    unknown = made.class_map == IGNORE
    assert np.all(made.is_told[~unknown])
    assert np.all(made.is_told[unknown] == is_told)
    assert not made.things[unknown].any()


def test_things_whose_outlines_are_unknown_teach_no_centres(folder, monkeypatch):
    covers = np.zeros(256, np.bool_)
    covers[CAR] = True
    monkeypatch.setattr(questions, "thing", lambda _present, _rng: ("car", covers))
    street = one(folder)
    blurred = streets.Street(street.entry, street.image, street.class_map, np.zeros_like(street.instance_map))
    for each, has_centres in ((street, True), (blurred, False)):
        made = streets.sample(each, SIZE, np.random.default_rng(0), augmented=False)
        assert made.things.any()
        assert bool(made.is_apart[made.things].any()) is has_centres
        assert bool(made.centre.any()) is has_centres


def test_disturbed_samples_keep_picture_and_labels_together(tmp_path):
    labels = np.full((80, 120), BUILDING, np.uint8)
    labels[:, 60:] = SKY
    add(tmp_path, "a", labels)
    street = one(tmp_path)
    dark, light = (street.image[5, x].astype(float) for x in (5, 115))
    for seed in range(12):
        made = streets.sample(street, SIZE, np.random.default_rng(seed))
        seen = made.image[::2, ::2].astype(float)
        both = [made.inside & (made.class_map == each) for each in (BUILDING, SKY)]
        if min(each.sum() for each in both) < 50:
            continue
        means = [seen[each].mean(axis=0) for each in both]
        assert np.dot(means[0] - means[1], dark - light) > 0


def test_sources_are_drawn_from_evenly_rather_than_by_their_size(tmp_path):
    for index in range(16):
        add(tmp_path, f"big{index}", street_map(), source="big")
    add(tmp_path, "small", street_map(), source="small")
    album = streets.Album(tmp_path)
    assert album.chances[-1] == pytest.approx(1 / (1 + 16**streets.SOURCE_POWER))
    assert album.one(np.random.default_rng(0)).image.shape == (80, 120, 3)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (None, "holds no labelled pictures"),
        ("", "names no picture"),
        ("{", "is no manifest"),
        ('{"id": "a"}', "is no manifest"),
        ('{"id": "a", "source": "b", "complete": ["unicorn"]}', "unicorn"),
        ('{"id": "a", "source": "b", "complete": []}', "cannot be read"),
    ],
)
def test_a_folder_of_another_form_is_refused(tmp_path, manifest, said):
    if manifest is not None:
        (tmp_path / "manifest.jsonl").write_text(manifest)
    with pytest.raises(UsageError, match=said):
        streets.Album(tmp_path).one(np.random.default_rng(0))


def test_labels_of_another_size_are_refused(folder):
    Image.fromarray(street_map()[:40]).save(folder / "sem" / "a.png")
    with pytest.raises(UsageError, match="must be uint8"):
        one(folder)


def test_of_one_answer_the_loss_is_the_cross_entropy_and_of_several_the_share_of_all(folder, monkeypatch):
    made = asked(folder, ("person", "car"), monkeypatch)
    network = Network(Vocabulary.of(questions.all_words()).num_ids)
    batch = collate([made], Vocabulary.of(questions.all_words()))
    torch.manual_seed(0)
    network.requires_grad_(False)
    features = network.encoder(batch.images.float() / 255)
    phrases = network.phrases(batch.ids)
    fields = network.decoder(
        features, torch.zeros(1, dtype=torch.int64), phrases[batch.semantic_phrases], batch.semantic_keep
    )
    chances = fields.logits()[0, :3].softmax(0)
    allowed = torch.stack([(batch.answers[0] >> bit) & 1 for bit in range(3)]).bool()
    weight = batch.trust[0] * allowed.any(0)
    share = torch.where(allowed, chances, 0).sum(0).clamp(min=1e-9)
    wanted = -(share.log() * weight).sum() / weight.sum()
    assert float(losses.semantic(fields, batch, torch.ones(256))) == pytest.approx(float(wanted), rel=1e-4)


def test_streets_and_rendered_scenes_are_learnt_side_by_side(folder, tmp_path):
    scenes = tmp_path / "scenes"
    shards.render(scenes, 0, 2, "train", 8, size_hw=SIZE)
    vocabulary = Vocabulary.of(questions.all_words())
    stream = Stream(scenes, vocabulary, 8, SIZE, seed=0, streets=folder, street_share=0.5)
    batch = next(iter(stream))
    taught = batch.taught.all(dim=1)
    assert 0 < int(taught.sum()) < 8
    network = Network(vocabulary.num_ids)
    parts = losses.terms(network, batch, losses.class_weights(), Guide(len(CLASSES)))
    assert parts.keys() == losses.WEIGHTS.keys()
    assert all(torch.isfinite(each) for each in parts.values())


def test_training_on_streets_alone_learns_them(folder, tmp_path):
    given = tmp_path / "given.safetensors"
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(questions.all_words())
    weights.save(given, Network(vocabulary.num_ids), vocabulary, {})
    path = train(
        TrainOptions(
            tmp_path / "run", None, steps=6, canvases=((1.0, SIZE),), batch_size=2, processes=1, loaders=0,
            streets=folder, street_share=1.0, init=given,
        )
    )  # fmt: skip
    before, after = weights.load(given)[0], weights.load(path)[0]
    assert not torch.equal(before.decoder.out.weight, after.decoder.out.weight)


class Painter:
    """Draws the class that each picture's colour stands for, and sky wherever it is told to."""

    name, fingerprint = "painter", "1"

    def __init__(self, class_map: np.ndarray) -> None:
        self.class_map = class_map

    def render(self, images: np.ndarray, image_of: list[int], prompts: list[Prompt]) -> np.ndarray:
        [prompt] = prompts
        table = np.array([prompt.background, *prompt.palette], np.uint8)
        picture = Image.fromarray(self.class_map).resize(
            (images.shape[2], images.shape[1]), Image.Resampling.NEAREST
        )
        return table[np.asarray(picture)][None]

    def close(self) -> None:
        pass


def test_only_known_pixels_are_scored(folder):
    drawn = street_map()
    drawn[:, 100:] = PERSON
    figures = street_scores(Drawn(Painter(drawn)), folder, (80, 120))
    assert figures["miou6"] == pytest.approx(1, abs=0.02)
    assert set(figures["class_iou"]) == {"road", "sky", "car"}
    assert figures["num_pictures"] == 2
    assert figures["sources"].keys() == {"yard", "lane"}


def test_a_wrong_class_costs_its_own_iou_and_that_of_the_true_one(folder):
    drawn = street_map()
    drawn[drawn == CAR] = ROAD
    drawn[drawn == IGNORE] = SKY
    figures = street_scores(Drawn(Painter(drawn)), folder, (80, 120))
    assert figures["class_iou"]["car"] == 0
    assert 0.6 < figures["class_iou"]["road"] < 0.9
    assert figures["miou6"] == pytest.approx(np.mean(list(figures["class_iou"].values())))


def test_eval_prints_streets_by_source(folder, tmp_path):
    given = tmp_path / "given.safetensors"
    vocabulary = Vocabulary.of(questions.all_words())
    weights.save(given, Network(vocabulary.num_ids), vocabulary, {})
    told = CliRunner().invoke(app, ["eval", "--streets", str(folder), "--weights", str(given), "--json"])
    assert told.exit_code == 0, told.output
    figures = json.loads(told.stdout)
    assert set(figures["sources"]) == {"yard", "lane"}
    assert 0 <= figures["miou6"] <= 1
    assert set(figures["class_iou"]) <= set(STREET_CLASSES)
    shown = CliRunner().invoke(app, ["eval", "--streets", str(folder), "--weights", str(given)])
    assert "yard" in shown.output
    assert EmbeddedModel(given).fingerprint in shown.output


def test_a_wrong_folder_is_named(tmp_path):
    told = CliRunner().invoke(app, ["eval", "--streets", str(tmp_path)])
    assert isinstance(told.exception, UsageError)
    assert "manifest.jsonl" in str(told.exception)


@pytest.mark.parametrize("width", [80, 140])
def test_no_title_and_no_figure_of_the_table_is_cut_off(width):
    own = {
        "num_pictures": 1234,
        "miou6": 0.5,
        "miou6_ci": (0.4, 0.6),
        "class_iou": dict.fromkeys(STREET_CLASSES, 0.25),
    }
    console = Console(file=io.StringIO(), width=width)
    console.print(streets_of({**own, "sources": {"coco-panoptic": own}}, console.width))
    shown = console.file.getvalue()
    assert "…" not in shown
    for said in ("coco-panoptic", "1234", "0.500", "0.25", "car", "person"):
        assert said in shown
    assert ("0.400 to 0.600" in shown) == (width == 140)
