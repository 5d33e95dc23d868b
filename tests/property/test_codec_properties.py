"""What holds for every drawing and every value."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco
from scipy.ndimage import binary_erosion

from plantain.operators import colours
from plantain.operators.answers import codec_for, rasters
from plantain.operators.answers.depth.codec import metres_of
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.instances import GAMMA, MIN_AREA, MIN_CORE, TAU
from plantain.operators.answers.masks.rle import decode_region, encode_regions
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.prompts import DepthCurve, Prompt, Task

# The first call of each function compiles it or builds its tables, which takes seconds.
WARM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
CHANNELS = st.integers(0, 255)
ANY_COLOUR = st.tuples(CHANNELS, CHANNELS, CHANNELS)
CURVES = st.builds(DepthCurve, st.floats(-8.0, -1.5), st.floats(0.5, 200.0))
MAPS = st.sampled_from(["cube", "plasma", "inferno", "viridis", "gray"])
CODECS = (
    "depth",
    "depth[colormap=viridis]",
    "normals",
    "semantic:a,b,c",
    "refer:it",
    "instances:a",
    "generate:a",
)


def drawings(side: int = 12) -> st.SearchStrategy[NDArray[np.uint8]]:
    """Drawings of a few colours, some of them close to one another, and of noise."""
    shape = st.tuples(st.integers(1, side), st.integers(1, side))

    @st.composite
    def few_colours(draw: st.DrawFn) -> NDArray[np.uint8]:
        base = draw(st.lists(ANY_COLOUR, min_size=1, max_size=3))
        shift = st.tuples(*[st.integers(-12, 12)] * 3)
        near = [np.add(draw(st.sampled_from(base)), draw(shift)) for _ in range(draw(st.integers(0, 3)))]
        table = np.clip([(0, 0, 0), *base, *near], 0, 255).astype(np.uint8)
        index = draw(hnp.arrays(np.uint8, draw(shape), elements=st.integers(0, len(table) - 1)))
        scale = draw(st.integers(1, 3))
        return table[index].repeat(scale, axis=0).repeat(scale, axis=1)

    noise = shape.flatmap(lambda hw: hnp.arrays(np.uint8, (*hw, 3)))
    return st.one_of(few_colours(), noise)


@WARM
@given(drawings(), st.sampled_from(CODECS))
def test_every_drawing_decodes_to_what_can_be_drawn_and_read_again(
    drawing: NDArray[np.uint8], written: str
) -> None:
    prompt = Prompt.parse(written)
    codec = codec_for(prompt)
    value = codec.decode(drawing, prompt)
    assert 0.0 <= value.off_palette <= 1.0
    again = codec.decode(codec.encode(value, prompt), prompt)
    match value, again:
        case Masks(), Masks() if written != "instances:a":
            np.testing.assert_array_equal(again.labels, value.labels)
            assert again.names == value.names
            np.testing.assert_array_equal(again.scores, np.ones(len(value.names)))
            assert again.off_palette == 0.0
        case DepthMap(), DepthMap():
            np.testing.assert_array_equal(again.valid, value.valid)
            np.testing.assert_allclose(again.depth_m, value.depth_m, rtol=0.02)
            assert np.isfinite(value.depth_m).all()
        case NormalMap(), NormalMap():
            np.testing.assert_array_equal(again.valid, value.valid)
            np.testing.assert_allclose(again.normals, value.normals, atol=0.01)
            np.testing.assert_allclose(np.linalg.norm(value.normals, axis=2), value.valid, atol=1e-6)


@WARM
@given(hnp.arrays(np.float32, SIZES, elements=st.floats(0, 1e4, width=32)), CURVES, MAPS)
def test_depth_comes_back_within_half_a_step_of_the_map(
    metres: NDArray[np.float32], curve: DepthCurve, colormap: str
) -> None:
    prompt = Prompt(Task.DEPTH, curve=curve, colormap=colormap, codec="depth")
    value = DepthMap(metres, np.ones(metres.shape, np.bool_), 0.0)
    again = codec_for(prompt).decode(codec_for(prompt).encode(value, prompt), prompt)
    assert isinstance(again, DepthMap)
    assert again.valid.all()
    last = 1785 if colormap == "cube" else 255
    f, f_again = (
        1 - (1 + m.astype(np.float64) / (-curve.lam * curve.c)) ** (curve.lam + 1)
        for m in (metres, again.depth_m)
    )
    # The last finite colour stands for all that is farther; viridis has two pairs of equal neighbours.
    steps = 0.5 if colormap != "viridis" else 1.5
    np.testing.assert_allclose(f_again, np.minimum(f, (last - 1) / last), atol=steps / last + 1e-6)


@WARM
@given(CURVES, st.sampled_from([256, 1786]))
def test_a_curve_rises_from_0_and_is_finite_before_its_end(curve: DepthCurve, size: int) -> None:
    metres = metres_of(curve, size)
    assert metres[0] == metres[-1] == 0.0
    assert np.isfinite(metres).all()
    assert (np.diff(metres[:-1]) > 0).all()


@WARM
@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)), elements=st.floats(-1, 1)
    )
)
def test_normals_come_back_within_half_a_degree(vectors: NDArray[np.float64]) -> None:
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    valid = length[..., 0] > 1e-3
    unit = np.where(valid[..., None], vectors / np.maximum(length, 1e-3), 0).astype(np.float32)
    prompt = Prompt.parse("normals")
    value = NormalMap(unit, valid, 0.0)
    again = codec_for(prompt).decode(codec_for(prompt).encode(value, prompt), prompt)
    assert isinstance(again, NormalMap)
    np.testing.assert_array_equal(again.valid, valid)
    cosine = (again.normals * unit).sum(axis=2)[valid]
    assert (cosine > np.cos(np.radians(0.5))).all()


@WARM
@given(drawings(), st.lists(ANY_COLOUR, min_size=2, max_size=6, unique=True), st.randoms())
def test_the_order_of_the_palette_changes_numbers_but_no_region(
    drawing: NDArray[np.uint8], palette: list[colours.RGB], random: object
) -> None:
    background, *classes = palette
    names = [f"class {k}" for k in range(len(classes))]
    order = list(range(len(classes)))
    random.shuffle(order)  # type: ignore[attr-defined]
    table = np.array(palette, np.int64)
    distance_sq = ((drawing[:, :, None].astype(np.int64) - table) ** 2).sum(axis=3)
    nearest = np.sort(distance_sq, axis=2)
    is_clear = nearest[..., 0] < nearest[..., 1]  # a tie is the earlier class's, whichever that is
    seen = []
    for chosen in (list(range(len(classes))), order):
        prompt = Prompt(
            Task.SEMANTIC,
            tuple(names[k] for k in chosen),
            tuple(classes[k] for k in chosen),
            background,
            codec="masks",
        )
        value = codec_for(prompt).decode(drawing, prompt)
        assert isinstance(value, Masks)
        assert sorted(np.unique(value.labels[value.labels > 0])) == list(range(1, len(value.names) + 1))
        seen.append(np.array(["", *value.names])[value.labels])
    np.testing.assert_array_equal(seen[0][is_clear], seen[1][is_clear])
    expected = np.array(["", *names])[distance_sq.argmin(axis=2)]
    np.testing.assert_array_equal(seen[0], expected)


@WARM
@given(drawings(), st.sampled_from([(0, 0, 0), (88, 50, 82), (200, 10, 10)]))
def test_objects_are_those_of_the_five_stages_done_slowly(
    drawing: NDArray[np.uint8], background: colours.RGB
) -> None:
    prompt = Prompt(Task.INSTANCES, ("a",), (), background, codec="instances")
    value = codec_for(prompt).decode(drawing, prompt)
    assert isinstance(value, Masks)
    np.testing.assert_array_equal(value.labels, five_stages(drawing, background))
    assert len(value.names) == len(value.scores) == value.labels.max()
    assert ((value.scores >= 0) & (value.scores <= 1)).all()


def five_stages(drawing: NDArray[np.uint8], background: colours.RGB) -> NDArray[np.int64]:
    """Appendix A of the paper, pixel by pixel, each stage in its own words."""
    image = drawing.astype(np.int64)
    height, width = image.shape[:2]
    is_open = ((image - np.array(background)) ** 2).sum(axis=2) >= TAU**2
    moves = [
        (y, x) for y, x in product(range(-2, 3), repeat=2) if 0 < abs(y) + abs(x) <= 3 and abs(y * x) != 4
    ]
    moves = [move for move in moves if sorted(map(abs, move)) in ([0, 1], [1, 1], [1, 2])]
    assert len(moves) == 16
    parts = []
    for seed in product(range(height), range(width)):
        if not is_open[seed]:
            continue
        part, todo = np.zeros((height, width), np.bool_), [seed]
        part[seed] = True
        while todo:
            y, x = todo.pop()
            for dy, dx in moves:
                p = (y + dy, x + dx)
                if not (0 <= p[0] < height and 0 <= p[1] < width) or part[p] or not is_open[p]:
                    continue
                if ((image[p] - image[seed]) ** 2).sum() <= TAU**2:
                    part[p] = True
                    todo.append(p)
        is_open &= ~part
        parts.append(part)
    parts = [part for part in parts if part.sum() >= MIN_AREA * height * width]
    parts = [part for part in parts if binary_erosion(part, np.ones((3, 3))).sum() / part.sum() >= MIN_CORE]
    has_changed = True
    while has_changed:
        has_changed = False
        a = 0
        while a < len(parts):
            b = a + 1
            while b < len(parts):
                if is_one_object(image, parts[a], parts[b]):
                    parts[a] = parts[a] | parts.pop(b)
                    has_changed = True
                else:
                    b += 1
            a += 1
    labels = np.zeros((height, width), np.int64)
    for k, part in enumerate(parts, 1):
        labels[part] = k
    return labels


def is_one_object(image: NDArray[np.int64], a: NDArray[np.bool_], b: NDArray[np.bool_]) -> bool:
    near = ((image[a].mean(axis=0) - image[b].mean(axis=0)) ** 2).sum() <= TAU**2
    return bool(near and box_area(a | b) <= GAMMA * (box_area(a) + box_area(b)))


def box_area(part: NDArray[np.bool_]) -> int:
    rows, columns = np.nonzero(part)
    return int((np.ptp(rows) + 1) * (np.ptp(columns) + 1))


@WARM
@given(hnp.arrays(np.uint16, SIZES, elements=st.integers(0, 4)))
def test_run_lengths_are_those_of_pycocotools(labels: NDArray[np.uint16]) -> None:
    counts = encode_regions(labels, 4)
    for k, text in enumerate(counts, 1):
        assert text.encode() == coco.encode(np.asfortranarray(labels == k, np.uint8))["counts"]
        np.testing.assert_array_equal(decode_region(text, labels.shape), labels == k)


@WARM
@given(hnp.arrays(np.uint16, SIZES))
def test_label_maps_come_back_from_their_files(labels: NDArray[np.uint16]) -> None:
    np.testing.assert_array_equal(rasters.unpack(*rasters.pack_labels(labels)), labels)


@WARM
@given(hnp.arrays(np.float32, SIZES, elements=st.floats(0, 2.0**20, width=32)), st.data())
def test_depth_maps_come_back_from_their_files(metres: NDArray[np.float32], data: st.DataObject) -> None:
    valid = data.draw(hnp.arrays(np.bool_, metres.shape))
    raster = rasters.pack_depth(DepthMap(metres, valid, 0.0))
    again = rasters.unpack(*raster)
    np.testing.assert_array_equal(again > 0, valid)
    # Nearer than half a step is one step, because 0 is taken.
    tolerance = np.where(metres < 0.5 / raster.scale, 1.0, 0.5) / raster.scale + 1e-6 * metres
    assert (np.abs(again - metres)[valid] <= tolerance[valid]).all()
