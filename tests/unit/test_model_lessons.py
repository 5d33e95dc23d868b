import math
from pathlib import Path

import numpy as np
import pytest
import torch

from plantain.operators.answers.boxes.value import Boxes
from plantain.operators.answers.depth.value import DepthMap, Lens
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.text.value import Text
from plantain.operators.models import truth
from plantain.operators.models.plantain import weights
from plantain.operators.models.plantain.evaluation.agreement import agreement
from plantain.operators.models.plantain.lens import log_focal
from plantain.operators.models.plantain.model import EmbeddedModel
from plantain.operators.models.plantain.network import Guide, Network
from plantain.operators.models.plantain.text import NUM_UNKNOWN, Vocabulary
from plantain.operators.models.plantain.training import lessons, losses, samples
from plantain.operators.models.plantain.training.lessons import Lesson
from plantain.operators.models.plantain.training.samples import TAUGHT, collate
from plantain.operators.models.plantain.training.train import TrainOptions, train
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import Scene, SceneFrame
from plantain.operators.vocabulary import CLASSES

SIZE = (64, 96)
PROMPTS = ("semantic:road,sky,building,car", "instances:car", "depth[curve=street]", "normals")


@pytest.fixture(scope="module")
def frame() -> SceneFrame:
    return Scene(1, size_hw=SIZE).render(1.0)


def lesson_of(frame: SceneFrame, *prompts: str) -> Lesson:
    parsed = [Prompt.parse(text) for text in prompts]
    return Lesson(frame.image, tuple((prompt, truth.answer(frame, prompt)) for prompt in parsed))


def test_a_lesson_comes_back_as_it_was_stored(frame, tmp_path):
    made = lesson_of(frame, *PROMPTS)
    assert lessons.store(tmp_path / "one.npz", made.image, made.answers)
    back = lessons.load(tmp_path / "one.npz")
    assert np.array_equal(back.image, made.image)
    for (prompt, value), (asked, true) in zip(back.answers, made.answers, strict=True):
        assert prompt == asked
        match value, true:
            case Masks(), Masks():
                assert np.array_equal(value.labels, true.labels)
                assert value.names == true.names
            case DepthMap(), DepthMap():
                assert np.array_equal(value.valid, true.valid)
                assert np.allclose(value.depth_m, true.depth_m, rtol=1e-3)
            case _:
                assert np.abs(value.normals - true.normals).max() < 0.01
    assert set(lessons.words_of(tmp_path)) == {"road", "sky", "building", "car"}


def test_answers_in_colours_that_mean_nothing_are_not_learnt(frame, tmp_path):
    prompt = Prompt.parse("depth")
    bad = DepthMap(np.ones(SIZE, np.float32), np.ones(SIZE, np.bool_), 0.5)
    assert not lessons.store(tmp_path / "one.npz", frame.image, ((prompt, bad),))
    assert not list(tmp_path.iterdir())


def test_maps_of_a_larger_teacher_fit_the_picture(frame, tmp_path):
    labels = np.zeros((128, 192), np.uint16)
    labels[64:] = 1
    prompt = Prompt.parse("semantic:road")
    value = Masks(labels, ("road",), np.ones(1, np.float32), 0.0)
    lessons.store(tmp_path / "one.npz", frame.image, ((prompt, value),))
    stored = lessons.load(tmp_path / "one.npz").answers[0][1]
    assert isinstance(stored, Masks)
    assert stored.labels.shape == SIZE
    assert not stored.labels[:32].any()
    assert stored.labels[32:].all()


def test_exact_answers_teach_what_the_labels_teach(frame):
    rng = np.random.default_rng(0)
    made = lessons.sample(lesson_of(frame, *PROMPTS), SIZE, rng, augmented=False)
    half = frame.class_map[::2, ::2]
    assert made.taught.tolist() == [True, True, False, True, True, False]
    assert made.phrases == ("road", "sky", "building", "car")
    road = made.answers == 1 << 1
    assert np.array_equal(
        road, np.isin(half, [1, 2, 3])
    )  # with markings and crossings, which nobody asked for
    depth_m = frame.depth_m[::2, ::2]
    known = np.isfinite(depth_m)
    assert np.allclose(made.log_depth[known], np.log(depth_m[known]), atol=1e-3)
    assert np.isnan(made.log_depth[~known]).all()
    assert np.allclose(made.normals, frame.normals[::2, ::2], atol=1e-3)
    cars = truth.objects(frame, "car")[::2, ::2]
    assert np.array_equal(made.things, cars > 0)


def test_a_mirrored_lesson_is_mirrored_in_every_map(frame):
    lesson = lesson_of(frame, "semantic:road,sky", "depth", "normals")
    views = [lessons.sample(lesson, SIZE, np.random.default_rng(seed)) for seed in range(12)]
    straight = frame.normals[..., 0].mean()
    signs = {bool(np.sign(view.normals[..., 0].mean()) == np.sign(straight)) for view in views}
    assert signs == {True, False}
    for view in views:
        sky = view.answers == 2 << view.phrases.index("sky") if "sky" in view.phrases else None
        if sky is not None:
            assert np.array_equal(sky, np.isnan(view.log_depth))


def test_bars_around_a_picture_teach_nothing(frame):
    made = lessons.sample(
        lesson_of(frame, "semantic:road,sky", "depth"), (96, 96), np.random.default_rng(0), augmented=False
    )
    assert not made.image[:16].any()
    assert not made.inside[:8].any()
    assert made.inside[8:40].all()
    assert not made.answers[:8].any()


BOXES = Boxes(
    np.array([[16, 16, 48, 48], [60, 8, 80, 24]], np.float32),
    ("car", "bus"),
    np.array([0.8, 0.3], np.float32),
)
DETECT = Prompt.parse("detect:car,bus")


def undisturbed(*answers, seed: int = 0) -> samples.Sample:
    image = np.zeros((*SIZE, 3), np.uint8)
    return lessons.sample(Lesson(image, answers), SIZE, np.random.default_rng(seed), augmented=False)


def test_boxes_and_scores_come_back_as_they_were_stored(frame, tmp_path):
    masks = Masks(np.eye(*SIZE, dtype=np.uint16), ("car",), np.array([0.25], np.float32), 0.0)
    given = ((DETECT, BOXES), (Prompt.parse("instances:car"), masks), (Prompt.parse("ask:why?"), Text("so")))
    assert lessons.store(tmp_path / "one.npz", frame.image, given)
    (prompt, boxes), (_, back) = lessons.load(tmp_path / "one.npz").answers
    assert prompt == DETECT
    np.testing.assert_array_equal(boxes.xyxy, BOXES.xyxy)
    assert (boxes.names, boxes.scores.tolist()) == (BOXES.names, BOXES.scores.tolist())
    assert back.scores.tolist() == [0.25]
    assert lessons.unfit(*given[2]) == "ask: the network has no fields for such answers"
    assert set(lessons.words_of(tmp_path)) == {"car", "bus"}


def test_a_box_teaches_its_core_and_that_nothing_is_outside():
    made = next(each for seed in range(9) if (each := undisturbed((DETECT, BOXES), seed=seed)).thing == "car")
    assert made.taught.tolist() == [False, True, False, False, False, False]
    assert made.things[12:20, 12:20].all()
    assert made.things.sum() == 64, "half of the box each way"
    rim = np.zeros_like(made.things)
    rim[8:24, 8:24] = True
    rim[12:20, 12:20] = False
    np.testing.assert_array_equal(made.is_told, ~rim)
    assert np.unravel_index(made.centre.argmax(), made.centre.shape) == (16, 16)
    assert made.thing_trust[16, 16] == np.float32(0.8)
    assert made.thing_trust[0, 0] == 1, "that nothing is there has no score"


def test_what_a_teacher_is_not_sure_of_has_no_centre():
    made = next(each for seed in range(9) if (each := undisturbed((DETECT, BOXES), seed=seed)).thing == "bus")
    assert made.things.any()
    assert not made.is_apart[made.things].any()
    assert made.centre.max() == 0


def test_a_region_counts_as_much_as_its_teacher_was_sure_of_it():
    labels = np.zeros(SIZE, np.uint16)
    labels[:32] = 1
    sure, unsure = (Masks(labels, ("road",), np.array([score], np.float32), 0.0) for score in (1.0, 0.5))
    made = undisturbed((Prompt.parse("semantic:road"), unsure), (Prompt.parse("refer:road"), unsure))
    assert made.trust[0, 0] == np.float32(0.5)
    assert made.trust[-1, 0] == 1
    assert made.region_trust == 0.5
    batches = [batch_of(undisturbed((Prompt.parse("refer:road"), each))) for each in (sure, unsure)]
    found = [
        float(losses.region(Undecided(), each.region, each.inside * each.region_trust[:, None, None]))
        for each in batches
    ]
    assert 0 < found[1] < found[0]


class Undecided:
    """Fields in which a phrase is as likely as the background."""

    def logits(self) -> torch.Tensor:
        return torch.zeros(1, 2, SIZE[0] // 2, SIZE[1] // 2)


class Painter:
    """Draws the same for every prompt."""

    name, fingerprint = "painter", "1"

    def __init__(self, drawing):
        self._drawing = drawing

    def render(self, images, image_of, prompts):
        assert [str(prompt) for prompt in prompts] == ["instances:car", "instances:bus"]
        return np.stack([self._drawing] * len(prompts))

    def close(self):
        pass


def test_agreement_with_boxes_is_that_of_the_boxes_of_what_is_drawn(tmp_path):
    lessons.store(tmp_path / "one.npz", np.zeros((*SIZE, 3), np.uint8), ((DETECT, BOXES),))
    drawing = np.zeros((*SIZE, 3), np.uint8)
    drawing[16:48, 16:48] = (255, 0, 0)
    # One car and no bus where there is one, drawn once for each: a pair of four boxes.
    assert agreement(Painter(drawing), tmp_path, SIZE)["box_f1"] == pytest.approx(0.5)


def batch_of(*made: samples.Sample) -> samples.TrainingBatch:
    return collate(list(made), Vocabulary.of(["road sky building car"]))


def test_what_was_not_asked_has_no_loss(frame):
    made = lessons.sample(lesson_of(frame, "normals"), SIZE, np.random.default_rng(0), augmented=False)
    batch = batch_of(made)
    for kind in TAUGHT:
        assert bool(losses.known(batch, kind).any()) == (kind == "normals")
    torch.manual_seed(0)
    network = Network(1 + NUM_UNKNOWN + 4)
    parts = losses.terms(network, batch, losses.class_weights(), Guide(len(CLASSES)))
    told = {name for name, value in parts.items() if float(value.detach()) > 0}
    assert told == {"normals"}


def test_new_words_begin_as_what_they_were_taken_for():
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(["car"])
    network = Network(vocabulary.num_ids).eval()
    wider, grown = weights.extended(network, vocabulary, ["the tuk-tuk", "car", "tuk tuk"])
    assert grown.words == ("car", "tuk")
    with torch.inference_mode():
        before = network.phrases(vocabulary.tensor(["tuk tuk", "car"]))
        after = wider.phrases(grown.tensor(["tuk tuk", "car"]))
    assert torch.allclose(before, after)
    assert weights.extended(network, vocabulary, ["cars"])[0] is network


def test_a_student_comes_to_agree_with_its_teacher(tmp_path: Path):
    """From random weights, on a handful of frames of one camera: small, but it must learn."""
    scene = Scene(3, size_hw=SIZE)
    for index in range(6):
        made = lesson_of(scene.render(index * 0.5), "semantic:road,sky,building", "depth[curve=street]")
        (tmp_path / "learn").mkdir(exist_ok=True)
        lessons.store(tmp_path / "learn" / f"{index}.npz", made.image, made.answers)
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(["road"])
    weights.save(tmp_path / "first.safetensors", Network(vocabulary.num_ids), vocabulary, {})
    trained = train(
        TrainOptions(
            tmp_path / "run",
            None,
            minutes=10,
            steps=40,
            canvases=((1.0, SIZE),),
            batch_size=4,
            learning_rate=1e-3,
            processes=1,
            loaders=0,
            lessons=tmp_path / "learn",
            init=tmp_path / "first.safetensors",
            words=lessons.words_of(tmp_path / "learn"),
        )
    )
    before, after = (
        agreement(EmbeddedModel(path, device="cpu", dtype="float32"), tmp_path / "learn", SIZE)
        for path in (tmp_path / "first.safetensors", trained)
    )
    assert weights.load(trained)[1].words == ("road", "sky", "building")
    assert after["miou"] > before["miou"] + 0.1
    assert after["absrel"] < before["absrel"]


@pytest.mark.parametrize("lens", [Lens(84.0, 0.0), Lens(55.0, 0.2), Lens(70.0, None), None])
def test_metres_are_learnt_through_the_lens_that_they_were_measured_with(tmp_path, lens):
    depth = DepthMap(np.full((48, 64), 5, np.float32), np.ones((48, 64), np.bool_), 0.0, lens)
    image = np.zeros((48, 64, 3), np.uint8)
    assert lessons.store(tmp_path / "a.npz", image, ((Prompt.parse("depth"), depth),))
    kept = lessons.load(tmp_path / "a.npz")
    assert kept.answers[0][1].lens == lens
    for size_hw, share in (((96, 128), 1.0), ((96, 256), 0.5)):
        made = lessons.sample(kept, size_hw, np.random.default_rng(0), augmented=False)
        expected = math.nan if lens is None else log_focal(lens.hfov_deg, share)
        assert made.log_focal == pytest.approx(expected, nan_ok=True)
