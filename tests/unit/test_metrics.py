import numpy as np
import pytest

from plantain.operators.models.plantain.evaluation import metrics


def labels(rows: list[str]) -> np.ndarray:
    return np.array([[int(each) for each in row] for row in rows])


def scene(**changed: np.ndarray) -> metrics.Sums:
    sums: metrics.Sums = {
        "confusion": np.zeros((3, 3)),
        "confusion_random": np.zeros((3, 3)),
        "presence": np.zeros(4),
        "angles": np.zeros(metrics.ANGLE_BINS),
        "reliability": np.zeros((10, 3)),
    }
    names = (
        "depth_right",
        "depth_error",
        "depth_count",
        "pair_f1",
        "pair_count",
        "refer_overlap",
        "refer_union",
    )
    for name in (*names, "empty_right", "empty_count", "off_palette", "drawings"):
        sums[name] = np.zeros(())
    return sums | changed


def test_iou_of_a_class_is_its_overlap_over_its_union_and_void_does_not_count():
    true = labels(["1122", "0022"])
    drawn = labels(["1112", "1122"])
    ious = metrics.class_ious(metrics.confusion(drawn, true, 2))
    assert ious == pytest.approx([2 / 3, 3 / 4])


def test_drawn_background_counts_against_the_true_class():
    ious = metrics.class_ious(metrics.confusion(labels(["0011"]), labels(["1111"]), 2))
    assert ious[0] == pytest.approx(0.5)
    assert np.isnan(ious[1])


def test_delta1_counts_pixels_within_a_quarter_and_a_missing_depth_is_wrong():
    true = np.array([[10.0, 10.0, 10.0, 10.0]], np.float32)
    drawn = np.array([[12.4, 12.6, 8.1, 0.0]], np.float32)
    sums = metrics.depth_sums(drawn, drawn > 0, true, np.ones((1, 4), bool))
    assert sums["depth_right"] == 2
    assert sums["depth_error"] == pytest.approx(0.24 + 0.26 + 0.19 + 1.0, abs=1e-5)
    assert sums["depth_count"] == 4


def test_angles_have_the_right_mean_and_median():
    angles = np.radians([0.1, 10.1, 20.1, 90.1])
    true = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (1, 4, 1))
    drawn = np.stack([np.sin(angles), np.zeros(4), np.cos(angles)], axis=-1)[None].astype(np.float32)
    known = np.ones((1, 4), bool)
    result = metrics.summary([scene(angles=metrics.angle_histogram(drawn, known, true, known))], 10)
    assert result["normals_mean_deg"] == pytest.approx(30.1, abs=0.2)
    assert result["normals_median_deg"] == pytest.approx(10.1, abs=0.2)


def test_f1_of_a_pair_averages_over_thresholds():
    true = labels(["1111111111", "2222222222"])
    drawn = labels(["1111111100", "2222222222"])  # IoU 0.8 and 1
    # 0.5 .. 0.8 are seven of the ten thresholds: both found; above: one of two.
    assert metrics.pair_f1(drawn, true) == pytest.approx((7 * 1.0 + 3 * 0.5) / 10)


def test_f1_counts_objects_that_were_split_or_not_drawn():
    true = labels(["1111", "0000"])
    assert metrics.pair_f1(labels(["0000", "0000"]), true) == 0
    assert metrics.pair_f1(labels(["1122", "0000"]), true) == pytest.approx(2 * 1 / 3 * 0.1)


def test_presence_correlation_is_one_when_right_and_minus_one_when_inverted():
    right = metrics.summary([scene(presence=np.array([3.0, 0.0, 0.0, 2.0]))], 10)
    wrong = metrics.summary([scene(presence=np.array([0.0, 3.0, 2.0, 0.0]))], 10)
    assert right["il_mcc"] == pytest.approx(1)
    assert wrong["il_mcc"] == pytest.approx(-1)


def test_sums_add_up_over_scenes_before_they_are_divided():
    first = scene(refer_overlap=np.array(10.0), refer_union=np.array(10.0))
    second = scene(refer_overlap=np.array(0.0), refer_union=np.array(90.0))
    assert metrics.summary([first, second], 10)["ciou"] == pytest.approx(0.1)


def test_intervals_hold_the_value_and_are_the_same_every_time():
    scenes = [scene(off_palette=np.array(float(each)), drawings=np.array(10.0)) for each in range(10)]
    once, again = metrics.summary(scenes), metrics.summary(scenes)
    low, high = once["off_palette_ci"]
    assert low < once["off_palette"] < high
    assert once["off_palette_ci"] == again["off_palette_ci"]


def test_a_metric_without_data_is_not_a_number():
    result = metrics.summary([scene()], 10)
    assert np.isnan(result["delta1"])
    assert np.isnan(result["delta1_ci"][0])
