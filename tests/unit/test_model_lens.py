import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from plantain.operators.answers import codec_for, kind_of
from plantain.operators.answers.depth.value import DepthMap, Lens
from plantain.operators.geometry import Letterbox
from plantain.operators.models.base import DrawsFrames
from plantain.operators.models.drawn import Drawn
from plantain.operators.models.fake import FakeModel
from plantain.operators.models.plantain import lens, weights
from plantain.operators.models.plantain.fields import EMBED
from plantain.operators.models.plantain.lens import NUM_SEEN, Lenses
from plantain.operators.models.plantain.model import EmbeddedModel
from plantain.operators.models.plantain.network import LOG_SPREAD, Network
from plantain.operators.models.plantain.text import Vocabulary
from plantain.operators.models.plantain.training import losses, questions, samples, shards, views
from plantain.operators.models.plantain.training.samples import collate
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import Scene
from plantain.operators.types import Frame, FrameInfo, Header

SIZE = (64, 96)
DEPTH = Prompt.parse("depth[curve=street]")


@pytest.fixture(scope="module")
def path_of_weights(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(questions.all_words())
    network = Network(vocabulary.num_ids)
    torch.nn.init.normal_(network.decoder.to_lens.weight, std=0.05)
    with torch.no_grad():
        network.decoder.out.bias[EMBED + 1] -= 100  # nothing is infinitely far
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    weights.save(path, network, vocabulary, {})
    return path


@pytest.fixture(scope="module")
def model(path_of_weights) -> EmbeddedModel:
    return EmbeddedModel(path_of_weights, dtype="float32", threads=1)


def frame_of(
    image: np.ndarray, hfov_deg: float | None = None, stream_id: str = "gate", **fit: object
) -> Frame:
    placed = Letterbox.fit(fit.get("source_hw", image.shape[:2]), image.shape[:2])
    info = FrameInfo(0, Fraction(1), None, "file", placed, hfov_deg=hfov_deg)
    return Frame(Header(stream_id, 0, 0), info, image)


def depth_of(model: EmbeddedModel, frame: Frame) -> DepthMap:
    value = codec_for(DEPTH).decode(model.draw([frame], [0], [DEPTH])[0], DEPTH)
    assert isinstance(value, DepthMap)
    return value


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*SIZE, 3)).astype(np.uint8)


@pytest.mark.parametrize("hfov_deg", [20.0, 64.0, 100.0])
@pytest.mark.parametrize("share", [1.0, 0.75])
def test_field_of_view_and_focal_length_are_inverse(hfov_deg, share):
    assert lens.hfov_deg(lens.log_focal(hfov_deg, share), share) == pytest.approx(hfov_deg)


def test_the_focal_length_is_that_of_the_scene_camera():
    camera = Scene(3, size_hw=SIZE).camera
    assert lens.log_focal(camera.fov_deg) == pytest.approx(math.log(camera.focal(96) / 96 / lens.F0))


def test_told_twice_the_focal_length_everything_is_twice_as_far(model):
    image = picture()
    wide, narrow = 90.0, 2 * math.degrees(math.atan(0.5))
    near, far = depth_of(model, frame_of(image, wide)), depth_of(model, frame_of(image, narrow))
    inside = near.valid & far.valid & (far.depth_m < 100) & (near.depth_m > 1)
    assert inside.any()
    ratio = far.depth_m[inside] / near.depth_m[inside]
    assert np.median(ratio) == pytest.approx(2, rel=0.03)


def test_the_lens_is_measured_on_the_picture_and_not_on_its_bars(model):
    image = picture()
    image[:, :16] = image[:, -16:] = 0
    full = depth_of(model, frame_of(image, 60.0))
    barred = depth_of(model, frame_of(image, 60.0, source_hw=(64, 64)))
    inside = full.valid & barred.valid & (full.depth_m < 100) & (barred.depth_m > 1)
    assert np.median(barred.depth_m[inside] / full.depth_m[inside]) == pytest.approx(64 / 96, rel=0.03)


def test_a_stream_keeps_its_lens_and_others_have_their_own():
    lenses = Lenses()
    sure = math.log(0.1)
    assert lenses.of("a", 0.4, sure)[0] == pytest.approx(0.4)
    assert lenses.of("a", 0.0, sure)[0] == pytest.approx(0.2)
    assert lenses.of("b", -0.3, sure)[0] == pytest.approx(-0.3)
    for _ in range(NUM_SEEN):
        lenses.of("a", 0.2, sure)
    kept = lenses.of("a", 0.2, sure)[0]
    assert lenses.of("a", 5.0, sure)[0] == kept == pytest.approx(0.2)
    assert lenses.of("", 5.0, sure)[0] == 5.0
    assert lenses.of("", 1.0, sure)[0] == 1.0


def test_surer_pictures_count_more():
    lenses = Lenses()
    lenses.of("a", 0.0, math.log(0.1))
    assert lenses.of("a", 1.0, math.log(0.3))[0] == pytest.approx(0.1)


def test_streams_seen_long_ago_are_forgotten_first():
    lenses = Lenses()
    for number in range(1500):
        lenses.of(f"query-{number}", 1.0, 0.0)
        lenses.of("gate", 0.0, 0.0)
    assert lenses.of("gate", 1.0, 0.0)[0] == 0.0
    assert lenses.of("query-0", 0.5, 0.0)[0] == 0.5
    assert len(lenses._held) <= 1024


def test_depth_of_a_stream_does_not_jump_with_what_each_picture_is_taken_for(model):
    pictures = [picture(seed) for seed in range(4)]
    alone = [float(np.median(depth_of(model, frame_of(each, stream_id="")).depth_m)) for each in pictures]
    assert len({round(each, 3) for each in alone}) > 1
    for _ in range(NUM_SEEN):
        for each in pictures:
            model.draw([frame_of(each, stream_id="still")], [0], [DEPTH])
    first = depth_of(model, frame_of(pictures[0], stream_id="still")).depth_m
    model.draw([frame_of(each, stream_id="still") for each in pictures], [0, 1, 2, 3], [DEPTH] * 4)
    assert np.array_equal(first, depth_of(model, frame_of(pictures[0], stream_id="still")).depth_m)


def test_models_that_make_no_use_of_frames_stay_as_they_are(model):
    assert isinstance(model, DrawsFrames)
    assert not isinstance(FakeModel(), DrawsFrames)


def test_older_weights_take_every_lens_for_the_canonical_one(tmp_path):
    vocabulary = Vocabulary.of(questions.all_words())
    network = Network(vocabulary.num_ids)
    held = network.state_dict()
    weights.save(tmp_path / "new.safetensors", network, vocabulary, {})
    torch.nn.init.ones_(network.decoder.to_lens.bias)
    network.decoder.to_lens = torch.nn.Identity()  # as a network of before had none
    weights.save(tmp_path / "old.safetensors", network, vocabulary, {})
    loaded = weights.load(tmp_path / "old.safetensors")[0]
    assert not loaded.decoder.to_lens.weight.any()
    assert torch.allclose(loaded.decoder.out.weight, held["decoder.out.weight"].half().float())


def test_a_cropped_view_keeps_its_focal_length_and_a_shrunken_one_shortens_it():
    whole = 0, 0, *SIZE, np.arange(96)
    cropped = 0, 16, 64, 64, np.arange(16, 80)
    shrunken = 16, 24, 32, 48, np.arange(96)
    assert views.widening(whole, 96, 96) == 1
    assert views.widening(cropped, 96, 96) == 1
    assert views.widening(shrunken, 96, 96) == 0.5


def shot(hfov_deg: float) -> shards.Shot:
    scene = Scene(3, size_hw=SIZE)
    frame = scene.render(0.0)
    return shards.Shot(
        frame.image,
        frame.depth_m.astype(np.float16),
        np.round(frame.normals * 127).astype(np.int8),
        frame.class_map,
        np.zeros(SIZE, np.uint8),
        (),
        hfov_deg,
        scene.setting,
    )


def test_depth_is_taught_in_the_canonical_camera():
    rng = np.random.default_rng(0)
    made = samples.sample(shot(40.0), SIZE, rng, augmented=False)
    assert made.log_focal == pytest.approx(lens.log_focal(40.0))
    vocabulary = Vocabulary.of(questions.all_words())
    batch = collate([made], vocabulary)
    network = Network(vocabulary.num_ids).requires_grad_(False)
    features = network.encoder(batch.images.float() / 255)
    phrases = network.phrases(batch.ids)
    fields = network.decoder(
        features, torch.tensor([3]), phrases[:1, None], torch.zeros(1, 1, dtype=torch.bool)
    )
    right = replace(fields, log_depth=batch.log_depth - made.log_focal)
    assert float(losses.depth(right, batch)[0]) == pytest.approx(0, abs=1e-5)
    told_wrong = replace(fields, log_depth=batch.log_depth)
    assert float(losses.depth(told_wrong, batch)[0]) == pytest.approx(abs(made.log_focal), rel=0.01)


def test_an_unknown_lens_is_learnt_from_the_depth():
    vocabulary = Vocabulary.of(questions.all_words())
    made = replace(
        samples.sample(shot(40.0), SIZE, np.random.default_rng(0), augmented=False), log_focal=math.nan
    )
    batch = collate([made], vocabulary)
    network = Network(vocabulary.num_ids)
    fields = network.decoder(
        network.encoder(batch.images.float() / 255),
        torch.tensor([3]),
        network.phrases(batch.ids)[:1, None],
        torch.zeros(1, 1, dtype=torch.bool),
    )
    losses.depth(fields, batch)[0].backward()
    grad = network.decoder.to_lens.weight.grad
    assert grad is not None
    assert bool(grad[0].any())
    assert float(losses.lens(fields, batch).detach()) == 0


@pytest.mark.parametrize("gap", [0.0, 0.3])
def test_the_lens_is_held_to_a_spread_as_wide_as_its_error(gap):
    truth = torch.tensor([0.2])
    batch = collate(
        [samples.sample(shot(40.0), SIZE, np.random.default_rng(0), augmented=False)], Vocabulary.of(())
    )
    batch = replace(batch, log_focal=truth)
    spreads = torch.linspace(LOG_SPREAD[0] - 1, LOG_SPREAD[0] + 1, 21)
    made = [
        float(losses.lens(_only_lens(torch.tensor([[0.2 + gap, float(spread)]])), batch))
        for spread in spreads
    ]
    best = float(spreads[int(np.argmin(made))].exp())
    assert best == pytest.approx(max(gap, float(spreads[0].exp())), rel=0.2)


def _only_lens(value: torch.Tensor) -> losses.Fields:
    blank = torch.zeros(1)
    return losses.Fields(blank, blank, blank, blank, blank, blank, blank, value)


def test_rows_say_which_lens_distances_follow_from_and_how_sure_that_is(model):
    drawn = Drawn(model)
    depth, things = Prompt.parse("depth"), Prompt.parse("semantic:road")
    told = frame_of(picture(), hfov_deg=90.0, stream_id="told")
    (by_word,) = drawn.answer([told], [0], [depth])
    assert by_word.value.lens == Lens(90.0, 0.0)
    frames = [frame_of(picture(seed), stream_id="gate") for seed in range(3)]
    seen = [drawn.answer([frame], [0, 0], [depth, things])[0].value for frame in frames]
    for value in seen:
        assert 20 < value.lens.hfov_deg < 150
        assert 0 < value.lens.error < 3
    kind = kind_of(depth)
    row = kind.summary(seen[2])
    assert (row["hfov_deg"], row["hfov_error"]) == seen[2].lens
    assert kind.read(row, [], seen[2].depth_m).lens == seen[2].lens
    assert kind.read({"off_palette": 0.0}, [], seen[2].depth_m).lens is None, "a row of before"


@pytest.mark.parametrize("width", [96, 72])
def test_an_estimated_lens_is_that_of_the_picture_without_its_bars(model, width):
    """Told what was estimated, the network draws the same."""
    frame = frame_of(picture(), stream_id="", source_hw=(64, width))
    (guessed,) = Drawn(model).answer([frame], [0], [DEPTH])
    known = replace(frame, info=replace(frame.info, hfov_deg=guessed.value.lens.hfov_deg))
    (again,) = Drawn(model).answer([known], [0], [DEPTH])
    assert np.allclose(guessed.value.depth_m, again.value.depth_m, rtol=1e-3)


def test_copies_of_a_model_take_a_stream_for_the_same_lens(model, path_of_weights):
    """Each sees some of its frames, and depth must not jump from one to the other."""
    other = EmbeddedModel(path_of_weights, dtype="float32", threads=1)
    first, second = (frame_of(picture(seed), stream_id="shared") for seed in (11, 12))
    (alone,) = Drawn(model).answer([replace(second, header=Header("", 0, 0))], [0], [DEPTH])
    (before,) = Drawn(model).answer([first], [0], [DEPTH])
    (after,) = Drawn(other).answer([second], [0], [DEPTH])
    low, high = sorted((before.value.lens.hfov_deg, alone.value.lens.hfov_deg))
    assert low < after.value.lens.hfov_deg < high, "the mean of both"
    other.close()
