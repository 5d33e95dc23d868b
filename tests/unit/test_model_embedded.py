import gc
import json
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from plantain.operators import colours
from plantain.operators.answers import codec_for
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import ModelError, ModelUnavailableError, UsageError
from plantain.operators.models import BACKENDS, load_model
from plantain.operators.models.plantain import drawing, painting, weights
from plantain.operators.models.plantain.model import WEIGHTS, EmbeddedModel
from plantain.operators.models.plantain.network import Network
from plantain.operators.models.plantain.text import MAX_WORDS, NUM_UNKNOWN, Vocabulary
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import Scene
from plantain.operators.vocabulary import CLASSES
from tests.bench import bench_model

TASKS = ("semantic:car,road,sky", "instances:car", "refer:the red car", "depth", "normals")


@pytest.fixture(scope="module")
def weights_path(tmp_path_factory) -> Path:
    """An untrained network: its drawings mean nothing, but they must be legal."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(["red car", "road", "sky"])
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    weights.save(path, Network(vocabulary.num_ids), vocabulary, {"steps": "0"})
    return path


@pytest.fixture(scope="module")
def model(weights_path) -> EmbeddedModel:
    return EmbeddedModel(weights_path, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_gives_a_legal_drawing(model, pictures, task):
    prompt = Prompt.parse(task)
    drawn = model.render(pictures, [1], [prompt])
    assert drawn.shape == (1, 64, 96, 3)
    assert drawn.dtype == np.uint8
    value = codec_for(prompt).decode(drawn[0], prompt)
    if prompt.codec in ("masks", "depth"):
        assert value.off_palette == 0


def test_answers_do_not_depend_on_what_else_is_in_the_batch(model, pictures):
    prompts = [Prompt.parse(task) for task in TASKS]
    together = model.render(pictures, [0, 1, 0, 1, 0], prompts)
    for row, (index, prompt) in enumerate(zip([0, 1, 0, 1, 0], prompts, strict=True)):
        alone = model.render(pictures[index : index + 1], [0], [prompt])[0]
        assert np.mean(together[row] != alone) < 0.01  # rounding in another order


def test_frames_that_are_asked_different_numbers_of_questions_keep_their_answers_apart(weights_path):
    model = EmbeddedModel(weights_path, dtype="float32", threads=2)
    pictures = np.random.default_rng(3).integers(0, 256, (11, 64, 96, 3), np.uint8)
    tasks = [Prompt.parse(text) for text in ("semantic:car,person", "depth", "normals", "instances:car")]
    asked = [(frame, task) for frame in range(11) for task in tasks[: frame % 4 + 1]]
    order = np.random.default_rng(4).permutation(len(asked))
    mixed = [asked[place] for place in order]
    drawn = model.render(pictures, [frame for frame, _ in mixed], [task for _, task in mixed])
    for (frame, task), together in zip(mixed, drawn, strict=True):
        (alone,) = model.render(pictures[frame : frame + 1], [0], [task])
        near = np.abs(alone.astype(int) - together).max(axis=2) <= 2
        assert near.mean() > 0.99, (frame, task)


def test_the_same_question_gets_the_same_drawing(model, pictures):
    prompts = [Prompt.parse(task) for task in TASKS]
    assert np.array_equal(model.render(pictures, [0] * 5, prompts), model.render(pictures, [0] * 5, prompts))


def test_colours_only_colour(model, pictures):
    plain = Prompt.parse("semantic:car,road")
    other = Prompt.parse("semantic[background=#0a141e]:car=#ff0000,road=#00ff00")
    first, second = model.render(pictures, [0, 0], [plain, other])
    one, two = codec_for(plain).decode(first, plain), codec_for(other).decode(second, other)
    assert isinstance(one, Masks)
    assert isinstance(two, Masks)
    assert np.array_equal(one.labels, two.labels)
    assert one.names == two.names


def test_sides_that_are_no_multiple_of_32_are_padded_and_cut(model):
    picture = np.full((1, 50, 70, 3), 90, np.uint8)
    assert model.render(picture, [0], [Prompt.parse("depth")]).shape == (1, 50, 70, 3)


def test_no_prompts_give_no_drawings(model, pictures):
    assert model.render(pictures, [], []).shape == (0, 64, 96, 3)


def test_what_it_cannot_draw_is_refused(model, pictures):
    with pytest.raises(ModelError, match="image indices"):
        model.render(pictures, [0, 1], [Prompt.parse("depth")])
    with pytest.raises(ModelError, match="uint8"):
        model.render(pictures.astype(np.float32), [0], [Prompt.parse("depth")])  # type: ignore[arg-type]


def test_missing_or_foreign_weights_are_named(tmp_path):
    with pytest.raises(ModelUnavailableError, match="plantain train"):
        EmbeddedModel(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelUnavailableError, match="cannot be read"):
        EmbeddedModel(tmp_path / "bad.safetensors")


def test_the_fingerprint_follows_the_weights(weights_path, tmp_path, model):
    torch.manual_seed(1)
    vocabulary = Vocabulary.of(["car"])
    other = tmp_path / "other.safetensors"
    weights.save(other, Network(vocabulary.num_ids), vocabulary, {})
    assert EmbeddedModel(other).fingerprint != model.fingerprint
    assert EmbeddedModel(weights_path).fingerprint == model.fingerprint


def test_whoever_may_read_the_folder_may_read_the_weights(weights_path):
    plain = weights_path.with_name("plain.txt")
    plain.write_text("as any other file")
    assert weights_path.stat().st_mode == plain.stat().st_mode


def test_folded_normalisation_changes_nothing(weights_path):
    plain, _ = weights.load(weights_path)
    folded, _ = weights.load(weights_path)
    weights.fold(folded)
    assert not any(isinstance(each, torch.nn.BatchNorm2d) for each in folded.modules())
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(plain.encoder(picture).dense, folded.encoder(picture).dense, atol=1e-4)


def test_words_are_known_by_their_plural_and_unknown_ones_share_buckets():
    vocabulary = Vocabulary.of(["the red car", "bus"])
    assert vocabulary.words == ("bus", "car", "red")
    assert vocabulary.ids("A red CAR!") == vocabulary.ids("red cars")
    assert vocabulary.ids("buses") == vocabulary.ids("bus")
    assert all(1 <= each <= NUM_UNKNOWN for each in vocabulary.ids("zebra 北"))
    assert len(vocabulary.ids("word " * 40)) == MAX_WORDS
    assert vocabulary.ids("") == [1]
    assert vocabulary.tensor(["car", ""]).shape == (2, MAX_WORDS)


def objects_of(
    centres: list[tuple[int, int]], radius: int = 5
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Perfect fields of discs around half-resolution centres (x, y)."""
    ys, xs = np.mgrid[0:64, 0:96]
    odds, heat = np.full((64, 96), -8.0), np.full((64, 96), -8.0)
    offset = np.zeros((2, 64, 96))
    for x, y in centres:
        inside = (xs - x) ** 2 + (ys - y) ** 2 <= radius**2
        odds[inside] = 8
        heat[y, x] = 8
        offset[0][inside], offset[1][inside] = (x - xs[inside]) * 2 / 32, (y - ys[inside]) * 2 / 32
    logits = np.stack([np.zeros((64, 96)), odds])
    return tuple(torch.from_numpy(each).float() for each in (logits, heat, offset))  # type: ignore[return-value]


def test_objects_are_drawn_apart_even_when_they_touch():
    prompt = Prompt.parse("instances[background=#102030]:car")
    drawn = drawing.instances(*objects_of([(20, 20), (30, 20), (70, 50)]), prompt)[0].numpy()
    found = codec_for(prompt).decode(drawn, prompt)
    assert isinstance(found, Masks)
    assert len(found.names) == 3
    assert found.off_palette < 0.01


def test_an_object_keeps_its_colour_while_others_come_and_go():
    prompt = Prompt.parse("instances:car")
    before, _ = drawing.instances(*objects_of([(20, 20), (70, 50)]), prompt)
    after, _ = drawing.instances(*objects_of([(71, 50), (40, 30), (21, 20)]), prompt)
    assert torch.equal(before[40, 40], after[40, 42])
    assert torch.equal(before[100, 140], after[100, 142])


def test_a_region_without_a_centre_is_one_object_and_none_is_none():
    prompt = Prompt.parse("instances:car")
    logits, heat, offset = objects_of([(20, 20)])
    one = codec_for(prompt).decode(drawing.instances(logits, heat - 20, offset, prompt)[0].numpy(), prompt)
    none, _ = drawing.instances(logits * -1, heat - 20, offset, prompt)
    assert isinstance(one, Masks)
    assert len(one.names) == 1
    assert not codec_for(prompt).decode(drawing.instances(*objects_of([]), prompt)[0].numpy(), prompt).names
    assert none.shape == (128, 192, 3)


def test_colours_of_many_objects_are_different_and_far_apart():
    centres = torch.rand(56, 2, generator=torch.Generator().manual_seed(0)) * 200
    chosen = drawing.palette_at(centres.tolist(), colours.BLACK)
    gaps = [
        np.linalg.norm(np.subtract(a, b))
        for index, a in enumerate(chosen)
        for b in (*chosen[:index], colours.BLACK)
    ]
    assert min(gaps) >= 56


@pytest.mark.parametrize(
    "task", ["depth", "depth[curve=street]", "depth[colormap=plasma]", "depth[curve=-2/20]"]
)
def test_depth_is_drawn_as_the_codec_reads_it(task):
    prompt = Prompt.parse(task)
    metres = np.geomspace(1.0, 60.0, 48 * 32).reshape(32, 48).astype(np.float32)
    sky = np.full((32, 48), -5.0, np.float32)
    sky[:4] = 5
    drawn = drawing.depth(torch.from_numpy(np.log(metres)), torch.from_numpy(sky), prompt).numpy()
    value = codec_for(prompt).decode(drawn, prompt)
    assert isinstance(value, DepthMap)
    assert not value.valid[:6].any()
    assert value.valid[10:].all()
    true = np.repeat(np.repeat(metres, 2, 0), 2, 1)[10:]
    assert np.median(np.abs(value.depth_m[10:] / true - 1)) < 0.05


def test_backends_are_found_by_name_or_path(weights_path):
    assert set(BACKENDS) >= {"embedded", "fake"}
    assert load_model("embedded", {"weights": weights_path}).name == "embedded"
    assert load_model("plantain.operators.models.fake:FakeModel").name == "fake"
    with pytest.raises(UsageError, match="unknown"):
        load_model("banana")
    with pytest.raises(UsageError, match="has no 'Nothing'"):
        load_model("plantain.operators.models.fake:Nothing")
    with pytest.raises(UsageError, match="has no option speed"):
        load_model("fake", {"speed": 3})


@pytest.mark.parametrize("task", [*TASKS, "semantic:a,b,c,d,e,f", "depth[curve=street;colormap=viridis]"])
def test_both_ways_to_draw_give_the_same_picture(task):
    prompt = Prompt.parse(task)
    torch.manual_seed(3)
    smooth = torch.nn.functional.interpolate(torch.randn(1, 16, 8, 12), size=(32, 48), mode="bicubic")[0] * 2
    out, painted = np.empty((64, 96, 3), np.uint8), np.zeros((64, 96), np.uint8)
    sure = None
    maps = smooth.permute(1, 2, 0).contiguous().numpy()
    if task.startswith("depth"):
        drawn = drawing.depth(smooth[0] + 3, smooth[1], prompt)
        painting.paint("depth", maps[..., :2] + np.array([3, 0], np.float32), prompt, out, painted)
    elif task == "normals":
        drawn = drawing.normals(smooth[1:4], smooth[0])
        painting.paint("normals", maps[..., :4], prompt, out, painted)
    elif task.startswith("instances"):
        logits, centre, offset = torch.stack([0 * smooth[0], smooth[0]]), smooth[1], smooth[2:4] * 0.2
        drawn, sure = drawing.instances(logits, centre, offset, prompt)
        painting.paint(
            "instances", maps[..., :4] * np.array([1, 1, 0.2, 0.2], np.float32), prompt, out, painted
        )
    else:
        logits = smooth[: len(prompt.classes) + 1]
        drawn, sure = drawing.masks(logits, prompt)
        painting.paint(
            prompt.task.value, np.ascontiguousarray(maps[..., : len(logits)]), prompt, out, painted
        )
    gap = np.abs(drawn.numpy().astype(int) - out).max(axis=2)
    assert np.mean(gap > 2) < 0.002
    if sure is not None:
        inside = (out != prompt.background).any(axis=2) & (gap <= 2)
        assert inside.any()
        assert np.abs(sure.numpy()[inside].astype(int) - painted[inside]).max() <= 1


@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="needs a processor with bf16")
def test_bfloat16_draws_nearly_what_float32_draws(weights_path, model, pictures):
    half = EmbeddedModel(weights_path, device="cpu", dtype="bfloat16")
    prompt = Prompt.parse("normals")
    gap = np.abs(half.render(pictures, [0], [prompt]).astype(int) - model.render(pictures, [0], [prompt]))
    assert np.mean(gap) < 6


def test_an_unsure_region_is_not_drawn():
    faint = torch.stack([torch.zeros(4, 4), torch.full((4, 4), 1.0)])
    assert (drawing.sure(faint).argmax(0) == 0).all()
    faint[1, 2, 2] = drawing.REGION_LOGIT + 0.5
    assert torch.equal(drawing.sure(faint), faint)


def test_the_weights_of_the_package_see_a_street():
    scene = Scene(3, split="heldout").render(1.0)
    prompt = Prompt.parse("semantic:road,sky,building,vegetation,car")
    found = codec_for(prompt).decode(EmbeddedModel().render(scene.image[None], [0], [prompt])[0], prompt)
    assert isinstance(found, Masks)
    drawn = np.array([0, *(CLASSES.index(name) for name in found.names)])[found.labels]
    asked = np.isin(scene.class_map, [CLASSES.index(name) for name in prompt.classes])
    assert np.mean(drawn[asked] == scene.class_map[asked]) > 0.6


def test_every_model_of_a_process_uses_all_cores(monkeypatch):
    """Each sets its own threads to one core, and torch then says 1 to every later thread that asks it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    pictures, prompt = np.zeros((4, 32, 32, 3), np.uint8), Prompt.parse("depth")

    def used() -> int:
        model = EmbeddedModel()
        model.render(pictures, range(4), [prompt] * 4)
        threads = model.sight.threads
        model.close()
        return threads

    for _ in range(2):
        with ThreadPoolExecutor(1) as fresh:
            assert fresh.submit(used).result() == 3


def test_models_made_alike_share_their_weights_until_the_last_is_closed():
    first, second = EmbeddedModel(), EmbeddedModel()
    other = EmbeddedModel(dtype="bfloat16" if first.dtype == torch.float32 else "float32")
    sight = weakref.ref(first.sight)
    assert second.sight is sight()
    assert other.sight is not sight()
    first.close()
    first.close()  # twice does no harm
    pictures, prompt = np.zeros((1, 32, 32, 3), np.uint8), Prompt.parse("depth")
    second.render(pictures, [0], [prompt])
    with pytest.raises(ModelError, match="has been closed"):
        first.render(pictures, [0], [prompt])
    second.close()
    gc.collect()
    assert sight() is None


def test_copies_that_draw_at_the_same_time_draw_what_one_draws_alone():
    """To the byte in bfloat16; float32 sums in an order that follows the threads, and may round another way."""
    scene = Scene(3, split="heldout")
    pictures = np.stack([scene.render(time).image for time in (0.0, 0.5, 1.0, 1.5)])
    prompts = [Prompt.parse(text) for text in ("depth", "instances:car", "semantic:road,sky", "normals")]
    copies = [EmbeddedModel() for _ in range(3)]
    alone = copies[0].render(pictures, range(4), prompts)
    with ThreadPoolExecutor(len(copies)) as threads:
        drawn = [
            threads.submit(copy.render, pictures, range(4), prompts) for _ in range(5) for copy in copies
        ]
        for each in drawn:
            differing = np.count_nonzero(each.result() != alone)
            assert differing <= (0 if copies[0].dtype == torch.bfloat16 else 2e-5 * alone.size)


def test_a_caller_gets_its_part_of_the_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    sight = EmbeddedModel().sight
    with sight.share() as first, sight.share() as second, sight.share() as third:
        assert (first, second, third) == (4, 2, 1)
    with sight.share() as alone:
        assert alone == 4


def test_the_bench_tells_what_its_parts_cost(monkeypatch, capsys):
    monkeypatch.setattr(bench_model, "ROUNDS", 1)
    monkeypatch.setattr(bench_model, "pictures", lambda count: np.zeros((count, 64, 96, 3), np.uint8))
    model = EmbeddedModel(device="cpu", dtype="float32")
    network, _ = weights.load(WEIGHTS)
    monkeypatch.setattr(network.generator, "draw", lambda *_: None)
    model.sight.pool.submit(bench_model.parts, model, network).result()
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["figure"] for each in told] == [
        "encoder_cpu_ms", "decoder_cpu_ms", "semantic_drawing_cpu_ms", "instances_drawing_cpu_ms",
        "depth_drawing_cpu_ms", "normals_drawing_cpu_ms", "generator_ms",
    ]  # fmt: skip
