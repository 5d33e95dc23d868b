"""Depth Anything 3 and MoGe-2 against their libraries, and what each says of the lens that distances follow from.

Tolerances: 1e-4 of a value, between ours and the library's as between a batch and its frames alone.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file, save_file

from plantain.deploy.job import run_job
from plantain.operators.answers.depth.value import Lens
from plantain.operators.errors import ModelUnavailableError, UsageError
from plantain.operators.geometry import Letterbox
from plantain.operators.models import BACKENDS, load_model
from plantain.operators.models.loading import located
from plantain.operators.prompts import Prompt
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.operators.types import Failure, Frame
from plantain.pipeline.config import check
from plantain.pipeline.video import build_graph, start_of
from tests import checkpoints
from tests.checkpoints.apart import (
    moge_config,
    moge_small,
    small_da3,  # noqa: F401 - a fixture of every test here
)
from tests.checkpoints.asking import frame
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here

DEPTH, NORMALS = Prompt.parse("depth"), Prompt.parse("normals")
EVEN = (70, 126)
"""Height and width that are whole patches, so that nothing is resized."""


def seen(number: int = 0, hfov_deg: float | None = None, size_hw: tuple[int, int] = EVEN) -> Frame:
    """A frame of a camera, which may tell its field of view."""
    shown = frame(number, (80, 128))
    fit = Letterbox.fit(size_hw, size_hw)
    return Frame(
        shown.header, replace(shown.info, fit=fit, hfov_deg=hfov_deg), shown.image[: size_hw[0], : size_hw[1]]
    )


def answered(model: Any, *frames: Frame, prompt: Prompt = DEPTH) -> list[Any]:
    return [each.value for each in model.answer(frames, range(len(frames)), [prompt] * len(frames))]


def close(one: Any, other: Any) -> None:
    np.testing.assert_array_equal(one.valid, other.valid)
    np.testing.assert_allclose(one.depth_m, other.depth_m, rtol=1e-4, atol=1e-5)


# -- Depth Anything 3 ------------------------------------------------------------------------------------------


def da3(checkpoint: Any, **options: Any) -> Any:
    return load_model("depth-anything-3", {"checkpoint": str(checkpoint("depth_anything_3")), **options})


def put_out(model: Any, *frames: Frame, are_views: bool = False) -> Any:
    """What the library's network puts out about pictures that are prepared as its own class prepares them."""
    from torchvision.transforms import Normalize

    prepare = Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    pixels = torch.stack([prepare(torch.from_numpy(each.image).permute(2, 0, 1) / 255) for each in frames])
    with torch.inference_mode():
        return model.parts.network(pixels[None] if are_views else pixels[:, None])


def test_metres_are_what_the_network_puts_out_by_the_focal_length_in_pixels(checkpoint) -> None:
    model = da3(checkpoint)
    (value,) = answered(model, seen(0, 60.0))
    outputs = put_out(model, seen())
    focal_px = 126 / (2 * math.tan(math.radians(30)))
    near = outputs["sky"][0, 0].numpy() < 0.3
    assert 0.2 < near.mean() < 0.98
    np.testing.assert_array_equal(value.valid, near)
    expected = np.where(near, outputs["depth"][0, 0].numpy() * focal_px / 300, 0)
    np.testing.assert_allclose(value.depth_m, expected, rtol=1e-5)
    assert np.ptp(value.depth_m[near]) > 1
    assert value.lens == Lens(60.0, 0.0)


def test_what_is_twice_as_long_a_lens_is_twice_as_far(checkpoint) -> None:
    wide, long = Lens.of_focal(0.5), Lens.of_focal(1.0)
    assert wide.hfov_deg == pytest.approx(90)
    assert long.focal == pytest.approx(1)
    near, far = answered(da3(checkpoint), seen(0, wide.hfov_deg), seen(0, long.hfov_deg))
    np.testing.assert_allclose(far.depth_m, 2 * near.depth_m, rtol=1e-5)


def test_frames_of_a_batch_do_not_look_at_one_another(checkpoint) -> None:
    model = da3(checkpoint, assume_hfov=60)
    frames = [seen(0), seen(1), seen(2)]
    together = answered(model, *frames)
    for each, value in zip(frames, together, strict=True):
        close(value, answered(model, each)[0])
    # What the library puts in place of the sky is of all frames together, also where they are no views of one scene.
    alone, beside = put_out(model, frames[0])["depth"][0, 0], put_out(model, *frames)["depth"][0, 0]
    sky = ~torch.from_numpy(together[0].valid)
    assert (alone[sky] - beside[sky]).abs().max() > 0.01
    assert (together[0].depth_m[~together[0].valid] == 0).all()


def test_a_picture_of_any_size_is_answered_on_its_own_grid_and_sky_does_not_run_into_it(checkpoint) -> None:
    model = da3(checkpoint)
    uneven = seen(0, 60.0, (75, 122))  # seen as 70 x 126, so that its pixels are seen a little squeezed
    (value,) = answered(model, uneven)
    assert value.depth_m.shape == (75, 122)
    assert np.isfinite(value.depth_m).all()
    assert (value.depth_m[value.valid] > 0).all()
    (shown,) = answered(model, seen(0, 60.0))
    near = shown.depth_m[shown.valid]
    assert near.min() * 0.5 < value.depth_m[value.valid].min()
    assert value.depth_m.max() < 2 * near.max()


def test_a_picture_whose_lens_nobody_tells_fails_alone(checkpoint) -> None:
    model = da3(checkpoint)
    told, untold = answered(model, seen(0, 60.0), seen(1))
    close(told, answered(model, seen(0, 60.0))[0])
    assert isinstance(untold, Failure)
    assert not untold.retryable
    assert untold.error == (
        "model depth-anything-3 knows no metres of a picture of 126 x 70 whose field of view nobody tells: "
        "give the stream's hfov_deg, or the model's option assume_hfov (degrees)"
    )
    assumed = da3(checkpoint, assume_hfov=60)
    assert assumed.fingerprint != model.fingerprint
    one, other = answered(assumed, seen(0, 30.0), seen(0))
    assert (one.lens, other.lens) == (Lens(30.0, 0.0), Lens(60.0, None)), "what a stream tells goes before"


@pytest.mark.parametrize("degrees", [-3, 0.5, 170, "wide"])
def test_a_field_of_view_that_no_camera_has_is_refused(checkpoint, degrees: object) -> None:
    with pytest.raises(UsageError, match=r"assume_hfov is .*a number"):
        da3(checkpoint, assume_hfov=degrees)


def planned(**more: Any) -> Any:
    model = {"name": "depth-anything-3", "options": more.pop("options", {})}
    stream = {"url": "synthetic://street?seed=1", "id": "gate", **more.pop("stream", {})}
    return check({"streams": [stream], "prompts": ["depth"], "model": model, **more})


def test_a_run_that_would_know_no_metres_is_refused_when_it_is_planned() -> None:
    said = (
        "stream 'gate': model depth-anything-3 needs its field of view for 'depth': give the stream's hfov_deg, "
        r"or the model's option assume_hfov \(degrees\)"
    )
    with pytest.raises(UsageError, match=said):
        build_graph(planned())
    build_graph(planned(stream={"hfov_deg": 60}))
    build_graph(planned(options={"assume_hfov": 60}))
    told = planned(stream={"hfov_deg": 60})
    added = planned().named()[0]
    with pytest.raises(UsageError, match=said):
        start_of(told, added, None)


def test_a_run_is_refused_also_where_the_model_is_one_of_several_or_inside_another() -> None:
    inside = {"name": "router", "options": {"routes": {"depth": "depth-anything-3"}, "rest": "fake"}}
    with pytest.raises(UsageError, match="model router needs its field of view"):
        build_graph(planned(model=inside))
    inside["options"]["routes"] = {"depth": {"name": "depth-anything-3", "options": {"assume_hfov": 60}}}
    build_graph(planned(model=inside))
    named = {"near": {"name": "fake"}, "far": {"name": "depth-anything-3"}}
    several = {
        "streams": [{"url": "synthetic://street?seed=1", "id": "gate"}],
        "prompts": ["semantic:car", "depth"],
        "models": named,
    }
    build_graph(check(several))
    with pytest.raises(UsageError, match="stream 'gate': model depth-anything-3 needs"):
        build_graph(check({**several, "prompts": ["semantic:car", {"prompt": "depth", "model": "far"}]}))


@pytest.fixture
def da3_copy(checkpoint, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint("depth_anything_3"), tmp_path / "copy"))


def test_others_of_its_family_are_refused_and_nothing_that_they_name_is_made(da3_copy: Path) -> None:
    written = {"model_name": "da3-small", "config": {"__object__": {"path": "os", "name": "abort"}}}
    (da3_copy / "config.json").write_text(json.dumps(written))
    said = "holds a model of the type 'da3-small', and depth-anything-3 needs da3metric-large"
    with pytest.raises(ModelUnavailableError, match=said):
        load_model("depth-anything-3", {"checkpoint": str(da3_copy)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda held: held.pop("model.head.projects.0.weight"),
            "lacks 1 .* head.projects.0.weight among them",
        ),
        (
            lambda held: held.update({"model.cam_dec.fc.weight": torch.zeros(2)}),
            "holds 1 weights that the network has no place for, cam_dec.fc.weight among them",
        ),
        (
            lambda held: held.update({"model.head.projects.0.weight": torch.zeros(2, 384, 1, 1)}),
            "cannot be loaded, so it is another version of the model",
        ),
    ],
)
def test_weights_that_are_not_those_of_its_network_are_refused(
    da3_copy: Path, change: Any, said: str
) -> None:
    held = load_file(da3_copy / "model.safetensors")
    change(held)
    save_file(held, da3_copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelUnavailableError, match=said):
        load_model("depth-anything-3", {"checkpoint": str(da3_copy)})


def test_weights_that_are_cut_are_refused(da3_copy: Path) -> None:
    weights = da3_copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelUnavailableError, match="is damaged or cut short: copy it again"):
        load_model("depth-anything-3", {"checkpoint": str(da3_copy)})


# -- MoGe-2 ----------------------------------------------------------------------------------------------------


def moge(checkpoint: Any, **options: Any) -> Any:
    return load_model("moge-2", {"checkpoint": str(checkpoint("moge")), **options})


def inferred(model: Any, shown: Frame, **options: Any) -> dict[str, Any]:
    """What the library says of a picture."""
    pixels = torch.from_numpy(shown.image.copy()).permute(2, 0, 1) / 255
    found = model.parts.network.infer(pixels, use_fp16=False, **options)
    return {name: each.numpy() for name, each in found.items()}


# The library asks for autocast of float32 on a processor, which torch says it passes over.
@pytest.mark.filterwarnings("ignore:In CPU autocast, but the target dtype is not supported")
@pytest.mark.parametrize("hfov_deg", [None, 50.0])
def test_depth_directions_and_lens_are_those_of_the_library(checkpoint, hfov_deg: float | None) -> None:
    model, shown = moge(checkpoint), seen(0, hfov_deg, (72, 128))
    theirs = inferred(model, shown, fov_x=hfov_deg)
    (depth,), (normals,) = answered(model, shown), answered(model, shown, prompt=NORMALS)
    near = np.isfinite(theirs["depth"])
    assert 0.2 < near.mean() < 0.98
    np.testing.assert_array_equal(depth.valid, near)
    np.testing.assert_allclose(depth.depth_m, np.where(near, theirs["depth"], 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(normals.valid, near)
    np.testing.assert_allclose(normals.normals, theirs["normal"] * [1, -1, -1], atol=1e-5)
    fov_deg = 2 * math.degrees(math.atan(0.5 / theirs["intrinsics"][0, 0]))
    assert depth.lens.hfov_deg == pytest.approx(fov_deg, abs=1e-3)
    assert depth.lens.error == (None if hfov_deg is None else 0.0)


@pytest.mark.filterwarnings("ignore:In CPU autocast, but the target dtype is not supported")
def test_fewer_patches_are_those_of_the_library_under_another_fingerprint(checkpoint) -> None:
    most, fewer, shown = moge(checkpoint), moge(checkpoint, num_tokens=12), seen(0, None, (72, 128))
    assert most.fingerprint != fewer.fingerprint
    theirs = inferred(most, shown, num_tokens=12)["depth"]
    (value,) = answered(fewer, shown)
    np.testing.assert_allclose(value.depth_m, np.where(np.isfinite(theirs), theirs, 0), rtol=1e-4, atol=1e-5)
    assert not np.array_equal(value.depth_m, answered(most, shown)[0].depth_m)
    for number, said in (
        (-1, "is '-1': it must be a whole number, 0 or more"),
        ("many", "is a whole number"),
    ):
        with pytest.raises(UsageError, match=f"num_tokens {said}"):
            moge(checkpoint, num_tokens=number)


def test_a_wall_in_front_of_the_camera_faces_the_viewer() -> None:
    """By what the library itself, which it learnt directions from, says of depth; the ground is up here."""
    import utils3d

    from plantain.operators.models.specialists.depth import normals_of

    intrinsics = torch.tensor([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    wall = utils3d.pt.depth_map_to_normal_map(torch.full((8, 8), 4.0), intrinsics)
    wall = wall[0] if isinstance(wall, tuple) else wall
    np.testing.assert_allclose(
        normals_of(wall.permute(2, 0, 1)).normals[2:-2, 2:-2], [[[0, 0, 1]] * 4] * 4, atol=1e-4
    )
    below = (torch.arange(8) + 0.5) / 8 - 0.5
    ground = (2.0 / below.clamp(min=0.05))[:, None].expand(8, 8)  # two metres below the lens
    slope = utils3d.pt.depth_map_to_normal_map(ground.contiguous(), intrinsics)
    slope = slope[0] if isinstance(slope, tuple) else slope
    np.testing.assert_allclose(
        normals_of(slope.permute(2, 0, 1)).normals[6, 2:-2], [[0, 1, 0]] * 4, atol=1e-3
    )


def test_cameras_that_tell_their_lens_and_others_are_answered_in_one_pass_each_as_alone(checkpoint) -> None:
    model, passes = moge(checkpoint), list[int]()
    hook = model.parts.network.encoder.register_forward_hook(lambda *_: passes.append(1))
    frames = [seen(0, 50.0), seen(0), seen(1, 90.0), seen(2)]
    together = answered(model, *frames)
    assert len(passes) == 1
    hook.remove()
    for each, value in zip(frames, together, strict=True):
        (alone,) = answered(model, each)
        close(value, alone)
        assert value.lens.hfov_deg == pytest.approx(alone.lens.hfov_deg, rel=1e-4)
    assert not np.allclose(together[0].depth_m, together[1].depth_m, rtol=1e-3), "the lens decides"
    assert [value.lens.error for value in together] == [0.0, None, 0.0, None]


def test_what_is_seen_nowhere_has_no_lens(checkpoint, monkeypatch) -> None:
    model = moge(checkpoint)
    forward = model.forward

    def dark(**inputs: Any) -> Any:
        outputs = forward(**inputs)
        return {**outputs, "mask": torch.zeros_like(outputs["mask"])}

    monkeypatch.setattr(model, "forward", dark)
    (value,) = answered(model, seen())
    assert value.lens is None
    assert not value.valid.any()


def changed(folder: Path, target: Path, **changes: Any) -> Path:
    """A copy of a checkpoint with other things in its file."""
    held = torch.load(folder / "model.pt", weights_only=True)
    target.mkdir()
    torch.save({**held, **changes}, target / "model.pt")
    return target


class Opening:
    """What is made of it when a pickle is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return open, (str(self._path), "w")


def test_a_pickle_that_would_run_something_is_not_read(checkpoint, tmp_path: Path) -> None:
    folder = changed(checkpoint("moge"), tmp_path / "bad", extra=Opening(tmp_path / "ran"))
    said = "model.pt of .* holds more than weights and plain values, which is never read because it may run anything"
    with pytest.raises(ModelUnavailableError, match=said):
        load_model("moge-2", {"checkpoint": str(folder)})
    assert not (tmp_path / "ran").exists()


def without(held: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: each for key, each in held.items() if key != name}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda held: {"model_config": None},
            "does not hold model_config and model: it is no checkpoint of MoGe-2",
        ),
        (
            lambda held: {"model": without(held["model"], "neck.input_blocks.0.bias")},
            "lacks 1 of the network's weights, neck.input_blocks.0.bias among them",
        ),
        (
            lambda held: {"model": {**held["model"], "pose.weight": torch.zeros(2)}},
            "holds 1 weights that the network has no place for, pose.weight among them",
        ),
        (
            lambda held: {"model": {**held["model"], "neck.input_blocks.0.bias": torch.zeros(2)}},
            "cannot be loaded, so it is another version of the model",
        ),
        (
            lambda held: {"model_config": {"encoder": "dinov2_vitl14", "remap_output": "exp"}},  # of MoGe-1
            "cannot be loaded, so it is another version of the model",
        ),
    ],
)
def test_a_file_that_is_no_whole_checkpoint_of_it_is_refused(
    checkpoint, tmp_path: Path, change: Any, said: str
) -> None:
    held = torch.load(checkpoint("moge") / "model.pt", weights_only=True)
    folder = changed(checkpoint("moge"), tmp_path / "bad", **change(held))
    with pytest.raises(ModelUnavailableError, match=said):
        load_model("moge-2", {"checkpoint": str(folder)})


def test_a_file_that_is_cut_is_refused(checkpoint, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint("moge"), tmp_path / "cut"))
    weights = folder / "model.pt"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelUnavailableError, match=r"model.pt of .* is damaged or cut short: copy it again"):
        load_model("moge-2", {"checkpoint": str(folder)})


def test_the_checkpoint_of_another_model_is_refused_by_either(checkpoint) -> None:
    with pytest.raises(
        ModelUnavailableError, match=r"of the type 'da3metric-large', and moge-2 needs model\.pt"
    ):
        load_model("moge-2", {"checkpoint": str(checkpoint("depth_anything_3"))})
    with pytest.raises(
        ModelUnavailableError, match=r"of the type 'model\.pt', and depth-anything-3 needs da3metric"
    ):
        load_model("depth-anything-3", {"checkpoint": str(checkpoint("moge"))})


def test_a_checkpoint_without_directions_answers_depth_alone(tmp_path: Path) -> None:
    folder = checkpoints.moge(tmp_path / "plain", without(moge_small(), "normal_head"))
    model = load_model("moge-2", {"checkpoint": str(folder)})
    (depth,), (refused,) = answered(model, seen()), answered(model, seen(), prompt=NORMALS)
    assert depth.valid.any()
    assert refused.error == (
        "this checkpoint of model moge-2 has no answer to 'normals': take one with normal in its name"
    )


def test_a_checkpoint_that_knows_no_metres_is_refused(tmp_path: Path) -> None:
    folder = checkpoints.moge(tmp_path / "relative", without(moge_small(), "scale_head"))
    with pytest.raises(ModelUnavailableError, match="knows only what is nearer than what, not how far it is"):
        load_model("moge-2", {"checkpoint": str(folder)})


def test_a_digest_changes_with_its_weights(checkpoint, tmp_path: Path) -> None:
    here = located(str(checkpoint("moge"))).digest()
    assert here == located(str(shutil.copytree(checkpoint("moge"), tmp_path / "copy"))).digest()
    held = torch.load(checkpoint("moge") / "model.pt", weights_only=True)
    held["model"]["neck.input_blocks.0.bias"] += 1
    assert located(str(changed(checkpoint("moge"), tmp_path / "other", **held))).digest() != here


# -- both ------------------------------------------------------------------------------------------------------


def test_rows_of_a_run_say_which_lens_their_metres_follow_from(checkpoint, tmp_path: Path) -> None:
    url = "synthetic://street?seed={}&frames=2&width=96&height=64"
    streams = [{"url": url.format(1), "id": "gate", "hfov_deg": 50}, {"url": url.format(2), "id": "yard"}]
    models = {
        name: {
            "name": backend,
            "options": {"checkpoint": str(checkpoint(made)), **options},
            "canvas": {"width": 128, "height": 96},
        }
        for name, backend, made, options in (
            ("told", "depth-anything-3", "depth_anything_3", {"assume_hfov": 70}),
            ("seen", "moge-2", "moge", {}),
        )
    }
    prompts = [{"prompt": "depth", "model": "told"}, {"prompt": "depth[curve=street]", "model": "seen"}]
    output = {"out": str(tmp_path)}
    config = {"streams": streams, "prompts": prompts, "models": models, "output": output}
    assert run_job(check(config)).exit_code == 0
    names = ["stream_id", "model", "status", "depth_max_m", "hfov_deg", "hfov_error"]
    rows = read_frames(tmp_path, names)
    assert set(rows["status"]) == {"ok"}
    assert (rows["depth_max_m"] > 0).all()
    found = {
        (stream, model): (hfov_deg, error)
        for stream, model, hfov_deg, error in zip(
            *(rows[name] for name in ("stream_id", "model", "hfov_deg", "hfov_error")), strict=True
        )
    }
    assert found["gate", "depth-anything-3"] == found["gate", "moge-2"] == (50, 0)
    assert found["yard", "depth-anything-3"][0] == 70
    assert np.isnan(found["yard", "depth-anything-3"][1])
    assert 1 < found["yard", "moge-2"][0] < 170
    assert np.isnan(found["yard", "moge-2"][1])


@pytest.mark.parametrize("name", ["depth-anything-3", "moge-2"])
def test_sizes_in_the_catalogue_are_those_of_the_published_networks(name: str, monkeypatch) -> None:
    """Of MoGe-2 by the configuration that its authors trained the largest with; of DA3 by the library's own."""
    from depth_anything_3 import registry
    from moge.model.v2 import MoGeModel

    from plantain.operators.models.specialists.depth_anything_3 import KIND, network_of_its_name

    monkeypatch.setitem(registry.MODEL_REGISTRY, KIND, registry.get_all_models()[KIND])
    config = moge_config("dinov2_vitl14", [5, 11, 17, 23], 1024, [1024, 256, 128, 64, 32])
    with init_empty_weights():
        network = MoGeModel(**config) if name == "moge-2" else network_of_its_name()
    millions = sum(each.numel() for each in network.parameters()) / 1e6
    assert BACKENDS[name].weights.parameters_m == pytest.approx(millions, rel=0.01)
