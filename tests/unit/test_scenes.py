import numpy as np
import pytest

from plantain.operators.errors import UsageError
from plantain.operators.scenes import Scene, SceneFrame, layout, referring
from plantain.operators.scenes.frame import SceneObject
from plantain.operators.vocabulary import CLASSES, THINGS

SIZE = (60, 104)
SEEDS = (1, 2, 3, 4, 5, 6)
SKY = CLASSES.index("sky")


@pytest.fixture(scope="module")
def frames() -> list[SceneFrame]:
    return [Scene(seed, size_hw=SIZE).render(0.2) for seed in SEEDS]


def test_a_frame_has_the_shapes_and_types_that_others_read(frames: list[SceneFrame]) -> None:
    for frame in frames:
        assert frame.image.shape == (*SIZE, 3)
        assert frame.image.dtype == np.uint8
        assert (frame.depth_m.shape, frame.depth_m.dtype) == (SIZE, np.float32)
        assert (frame.normals.shape, frame.normals.dtype) == ((*SIZE, 3), np.float32)
        assert (frame.class_map.shape, frame.class_map.dtype) == (SIZE, np.uint8)
        assert (frame.instance_map.shape, frame.instance_map.dtype) == (SIZE, np.uint16)


def test_pictures_are_neither_black_nor_flat(frames: list[SceneFrame]) -> None:
    for frame in frames:
        assert 5 < frame.image.mean() < 245
        assert frame.image.std() > 5


def test_the_sky_and_only_the_sky_has_no_depth_and_no_normal(frames: list[SceneFrame]) -> None:
    for frame in frames:
        sky = frame.class_map == SKY
        assert np.array_equal(np.isinf(frame.depth_m), sky)
        length = np.linalg.norm(frame.normals, axis=-1)
        assert np.all(length[sky] == 0)
        assert np.allclose(length[~sky], 1.0, atol=1e-3)
        assert frame.depth_m[~sky].min() > 0.1


def test_every_pixel_has_a_known_class_and_only_things_have_instances(frames: list[SceneFrame]) -> None:
    things = [CLASSES.index(name) for name in THINGS]
    for frame in frames:
        assert frame.class_map.min() > 0
        assert frame.class_map.max() < len(CLASSES)
        assert np.array_equal(frame.instance_map > 0, np.isin(frame.class_map, things))


def test_objects_agree_with_the_maps(frames: list[SceneFrame]) -> None:
    assert sum(len(frame.objects) for frame in frames) > 10
    for frame in frames:
        for each in frame.objects:
            mask = frame.instance_map == each.instance_id
            rows, columns = np.nonzero(mask)
            assert mask.sum() == each.area_px
            assert each.box_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert set(np.unique(frame.class_map[mask])) == {CLASSES.index(each.label)}
            assert each.depth_m == pytest.approx(float(np.median(frame.depth_m[mask])))


def test_normals_agree_with_the_slope_of_the_depth_on_level_ground() -> None:
    for seed in SEEDS:
        scene = Scene(seed, size_hw=SIZE)
        frame = scene.render()
        height, width = SIZE
        focal = scene.camera.focal(width)
        y, x = np.mgrid[:height, :width] + 0.5
        depth = frame.depth_m.astype(np.float64)
        place = np.stack([(x - width / 2) / focal * depth, (height / 2 - y) / focal * depth, -depth], -1)
        with np.errstate(invalid="ignore"):
            across, up = place[1:-1, 2:] - place[1:-1, :-2], place[:-2, 1:-1] - place[2:, 1:-1]
            normal = np.cross(across, up)
            normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-12
        ground = np.isin(frame.class_map, [1, 4, 5])[1:-1, 1:-1] & (depth[1:-1, 1:-1] < 25)
        cosine = (normal * frame.normals[1:-1, 1:-1]).sum(-1)[ground]
        if len(cosine) > 100:
            assert np.degrees(np.arccos(np.clip(np.median(cosine), -1, 1))) < 1.0


def test_the_same_seed_gives_the_same_frame_and_another_seed_another() -> None:
    first, again = Scene(7, size_hw=SIZE).render(0.5), Scene(7, size_hw=SIZE).render(0.5)
    for name in ("image", "depth_m", "normals", "class_map", "instance_map", "objects"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
    assert not np.array_equal(first.image, Scene(8, size_hw=SIZE).render(0.5).image)


def test_a_frame_does_not_depend_on_what_was_rendered_before() -> None:
    scene = Scene(9, size_hw=SIZE)
    late = scene.render(1.0)
    scene.render(3.0)
    assert np.array_equal(scene.render(1.0).image, late.image)


def test_things_keep_their_identity_while_they_move() -> None:
    def known(each: SceneObject) -> tuple[str, str, str, str]:
        return each.label, each.colour, each.upper, each.kind

    moved = 0
    for seed in SEEDS:
        scene = Scene(seed, size_hw=SIZE)
        early, late = scene.render(0.0), scene.render(0.4)
        before = {each.instance_id: each for each in early.objects}
        for each in late.objects:
            if each.instance_id in before:
                assert known(each) == known(before[each.instance_id])
                moved += each.moving and each.box_xyxy != before[each.instance_id].box_xyxy
    assert moved > 0


def test_the_held_out_split_differs_with_the_same_seed() -> None:
    train, heldout = Scene(3, size_hw=SIZE), Scene(3, size_hw=SIZE, split="heldout")
    assert not np.array_equal(train.render().image, heldout.render().image)


def test_training_never_shows_a_held_out_layout() -> None:
    shown = {Scene(seed, size_hw=(16, 16)).setting.layout for seed in range(12)}
    assert not shown & set(layout.HELDOUT_LAYOUTS)


def test_a_wrong_split_or_size_is_refused() -> None:
    with pytest.raises(UsageError, match="split 'test' is unknown"):
        Scene(1, split="test")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="too small"):
        Scene(1, size_hw=(8, 8))


def test_expressions_mean_one_visible_thing_or_nothing(frames: list[SceneFrame]) -> None:
    rng = np.random.default_rng(0)
    said = [(frame, *pair) for frame in frames for pair in referring(frame, rng)]
    assert any(not meant for _, _, meant in said)
    assert any(meant for _, _, meant in said)
    for frame, words, meant in said:
        assert words.startswith("the ")
        assert len(meant) <= 1
        assert meant <= {each.instance_id for each in frame.objects}


def test_an_expression_by_colour_means_the_only_thing_of_that_colour() -> None:
    def made(number: int, colour: str, left: int) -> SceneObject:
        return SceneObject(number, "car", colour, "large", (left, 20, left + 15, 40), 300, 10.0, kind="sedan")

    blank = np.zeros(SIZE, np.float32)
    objects = (made(1, "red", 5), made(2, "blue", 30), made(3, "blue", 70))
    frame = SceneFrame(np.zeros((*SIZE, 3), np.uint8), blank, np.zeros((*SIZE, 3), np.float32),
                       blank.astype(np.uint8), blank.astype(np.uint16), objects)  # fmt: skip
    said = dict(referring(frame, np.random.default_rng(1)))
    assert said["the red car"] == {1}
    assert said["the leftmost blue car"] == {2}
    assert "the blue car" not in said


@pytest.mark.parametrize("times", [1.5, 3.0])
def test_a_longer_lens_shows_the_same_things_larger(times):
    scene = Scene(3, size_hw=(64, 96))
    camera = scene.camera
    wide = scene.render(0.0)
    scene.camera = camera.zoomed(times)
    narrow = scene.render(0.0)
    assert scene.camera.focal(96) == pytest.approx(times * camera.focal(96))
    middle = slice(28, 36), slice(44, 52)
    known = np.isfinite(wide.depth_m[middle]) & np.isfinite(narrow.depth_m[middle])
    assert np.median(narrow.depth_m[middle][known]) == pytest.approx(
        np.median(wide.depth_m[middle][known]), rel=0.3
    )


def test_raised_cameras_hang_high_and_look_down_where_they_stand_outdoors():
    heights = []
    for seed in range(12):
        before, after = (Scene(seed, size_hw=(64, 96), is_raised=each).camera for each in (False, True))
        if before.speed_mps or before.at[2] <= 2.5:
            assert after == before
        else:
            heights.append(after.at[2])
            assert after.pitch < 0
            assert after.at[:2] == before.at[:2]
    assert heights
    assert all(5.5 <= each <= 15 for each in heights)
