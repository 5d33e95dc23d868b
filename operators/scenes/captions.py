"""Referring expressions about the things in a frame, with the instances that they mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from plantain.operators.scenes.frame import SceneFrame, SceneObject
from plantain.operators.vocabulary import COLOURS, members_of

MIN_AREA_PX = 60
"""Smaller things are not spoken of, but they make an expression ambiguous all the same."""

_ABSENT = ("car", "van", "truck", "bus", "motorcycle", "bicycle", "person", "animal")
_SPOKEN = (*_ABSENT, "traffic light", "sign")

Expression = tuple[str, frozenset[int]]


def referring(frame: SceneFrame, rng: np.random.Generator) -> list[Expression]:
    """Expressions about a frame, in random order.

    Returns:
        Pairs of words and the one instance that they mean. About one in five
        means nothing that is there (empty set).
    """
    seen = [each for each in frame.objects if each.label in _SPOKEN and each.area_px >= 12]
    found: dict[str, frozenset[int]] = {}
    for label in sorted({each.label for each in seen}):
        group = [each for each in seen if each.label == label or (label == "car" and each.label == "van")]
        for words, number in _about(group, label, seen, frame):
            found.setdefault(words, frozenset({number}))
    pairs = list(found.items())
    rng.shuffle(pairs)
    absent = _absent(seen, rng)
    return pairs + absent[: max(1, len(pairs) // 4)]


def _about(
    group: Sequence[SceneObject], label: str, seen: Sequence[SceneObject], frame: SceneFrame
) -> list[tuple[str, int]]:
    """All unambiguous expressions about the things of one class."""
    said: list[tuple[str, int]] = []
    width = frame.image.shape[1]

    def say(words: str, members: Sequence[SceneObject]) -> None:
        if len(members) == 1 and members[0].area_px >= MIN_AREA_PX:
            said.append((words, members[0].instance_id))

    def say_extreme(
        words: str, members: Sequence[SceneObject], key: Callable[[SceneObject], float], margin: float
    ) -> None:
        if len(members) < 2:
            return
        ranked = sorted(members, key=key)
        clear = key(ranked[1]) - key(ranked[0]) > margin
        if clear and ranked[0].area_px >= MIN_AREA_PX:
            said.append((words, ranked[0].instance_id))

    def say_nearest(words: str, members: Sequence[SceneObject]) -> None:
        if len(members) < 2:
            return
        ranked = sorted(members, key=lambda each: each.depth_m)
        if ranked[1].depth_m > 1.12 * ranked[0].depth_m and ranked[0].area_px >= MIN_AREA_PX:
            said.append((words, ranked[0].instance_id))

    say(f"the {label}", group)
    sets: list[tuple[str, list[SceneObject]]] = [(label, list(group))]
    by_colour: dict[str, list[SceneObject]] = defaultdict(list)
    for each in group:
        if label != "person" and each.colour:
            by_colour[each.colour].append(each)
    sets += [(f"{colour} {label}", members) for colour, members in by_colour.items()]
    if label == "person":
        sets += _people(group)
    if label == "animal":
        sets += [
            (kind, [each for each in group if each.kind == kind]) for kind in {each.kind for each in group}
        ]
    if label == "car":
        vans = [each for each in group if each.label == "van"]
        sets += [
            (f"{colour} van", [each for each in vans if each.colour == colour])
            for colour in {v.colour for v in vans}
        ]
    for noun, members in sets:
        if not members:
            continue
        say(f"the {noun}", members)
        say_extreme(f"the leftmost {noun}", members, _middle_x, 0.04 * width)
        say_extreme(f"the rightmost {noun}", members, lambda each: -_middle_x(each), 0.04 * width)
        say_nearest(f"the nearest {noun}", members)
        say_nearest(f"the {noun} closest to the camera", members)
        say_extreme(f"the farthest {noun}", members, lambda each: -each.depth_m, 3.0)
        left = [each for each in members if _middle_x(each) < 0.5 * width]
        right = [each for each in members if _middle_x(each) >= 0.5 * width]
        if len(members) > 1 and not any(
            abs(_middle_x(each) - 0.5 * width) < 0.05 * width for each in members
        ):
            say(f"the {noun} on the left", left)
            say(f"the {noun} on the right", right)
        say_extreme(
            f"the largest {noun}",
            members,
            lambda each: -float(each.area_px),
            0.3 * max(each.area_px for each in members),
        )
        said += _relations(noun, members, seen, frame)
    return said


def _people(group: Sequence[SceneObject]) -> list[tuple[str, list[SceneObject]]]:
    """Ways to speak of persons: kind, clothes, what they carry."""
    sets: dict[str, list[SceneObject]] = defaultdict(list)
    for each in group:
        near = each.area_px >= 150
        names = ["person"] + ([each.kind] if near else [])
        for name in names:
            if name != "person":
                sets[name].append(each)
            if each.upper:
                sets[f"{name} in {each.upper}"].append(each)
                sets[f"{name} in the {each.upper} shirt"].append(each)
            if each.lower and near:
                sets[f"{name} with {each.lower} trousers"].append(each)
            if each.carries:
                sets[f"{name} with the {each.carries}"].append(each)
                sets[f"{name} with the {each.carries.split()[-1]}"].append(each)
    return list(sets.items())


def _relations(
    noun: str, members: Sequence[SceneObject], seen: Sequence[SceneObject], frame: SceneFrame
) -> list[tuple[str, int]]:
    """Expressions relative to the only thing of another class or colour."""
    said: list[tuple[str, int]] = []
    counts: dict[str, list[SceneObject]] = defaultdict(list)
    for each in seen:
        counts[each.label].append(each)
        if each.colour and each.label != "person":
            counts[f"{each.colour} {each.label}"].append(each)
    focal = float(max(frame.image.shape[:2]))
    for name, found in counts.items():
        anchor = found[0]
        if len(found) != 1 or anchor.area_px < 2 * MIN_AREA_PX or anchor in members or name.endswith("sign"):
            continue
        if "car" in name.split() and any(each.label == "van" for each in seen):
            continue
        if len(members) > 1:
            ranked = sorted(members, key=lambda each: _distance(each, anchor, focal))
            first, second = (_distance(each, anchor, focal) for each in ranked[:2])
            if second > 1.4 * first + 0.5 and ranked[0].area_px >= MIN_AREA_PX:
                said += [
                    (f"the {noun} {word} the {name}", ranked[0].instance_id)
                    for word in ("nearest to", "next to")
                ]
        for word, holds in _SIDES:
            there = [each for each in members if holds(each, anchor)]
            if len(there) == 1 and there[0].area_px >= MIN_AREA_PX:
                said.append((f"the {noun} {word} the {name}", there[0].instance_id))
    return said


def _middle_x(each: SceneObject) -> float:
    """Horizontal middle of the box, pixels."""
    return (each.box_xyxy[0] + each.box_xyxy[2]) / 2


def _distance(each: SceneObject, anchor: SceneObject, focal: float) -> float:
    """About how far two things are from each other, metres."""
    across = [(_middle_x(one) - focal / 2) / focal * one.depth_m for one in (each, anchor)]
    return float(np.hypot(across[0] - across[1], each.depth_m - anchor.depth_m))


def _overlap(each: SceneObject, anchor: SceneObject) -> bool:
    """Whether two boxes share columns."""
    return each.box_xyxy[0] < anchor.box_xyxy[2] and anchor.box_xyxy[0] < each.box_xyxy[2]


_SIDES: tuple[tuple[str, Callable[[SceneObject, SceneObject], bool]], ...] = (
    ("behind", lambda each, anchor: each.depth_m > 1.15 * anchor.depth_m and _overlap(each, anchor)),
    ("in front of", lambda each, anchor: each.depth_m < 0.87 * anchor.depth_m and _overlap(each, anchor)),
    ("left of", lambda each, anchor: each.box_xyxy[2] <= anchor.box_xyxy[0]),
    ("right of", lambda each, anchor: each.box_xyxy[0] >= anchor.box_xyxy[2]),
)


def _absent(seen: Sequence[SceneObject], rng: np.random.Generator) -> list[Expression]:
    """Expressions that mean nothing in this frame."""
    said: list[Expression] = []
    for label in rng.permutation(_ABSENT):
        covered = {each for each in seen if each.label == label or (label == "car" and each.label == "van")}
        if not covered:
            where = str(rng.choice(["", " on the left", " on the right"]))
            said.append((f"the {label}{where}", frozenset()))
        missing = [colour for colour in COLOURS if colour not in {each.colour for each in covered}]
        if missing:
            colour = str(rng.choice(missing))
            words = f"the {label} in {colour}" if label == "person" else f"the {colour} {label}"
            said.append((words, frozenset()))
    rng.shuffle(said)
    return [each for each in said if members_of(each[0].split()[1]) or each]
