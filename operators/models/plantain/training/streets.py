"""Pictures of real streets that are labelled in part: what is known of each pixel, and what certainly is not there.

    <folder>/manifest.jsonl     a line each: id, source, complete, and who labelled
    <folder>/img/<id>.jpg       the picture
    <folder>/sem/<id>.png       class ids of `operators.vocabulary.CLASSES`, IGNORE where unknown
    <folder>/inst/<id>.png      0 no thing, 1.. one thing each, IGNORE where unknown

A third kind of teaching beside `shards`, where everything is known, and `lessons`, where what was asked is.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plantain.operators.errors import UsageError
from plantain.operators.models.plantain.training import questions
from plantain.operators.models.plantain.training.losses import class_weights
from plantain.operators.models.plantain.training.questions import IGNORE
from plantain.operators.models.plantain.training.samples import TAUGHT, Sample, centres_of, log_depth_of
from plantain.operators.models.plantain.training.views import random_placement, view_of
from plantain.operators.vocabulary import CLASSES, THINGS

_EVERY = frozenset(CLASSES[1:])
_BY_PEOPLE = {
    "human": _EVERY,
    "hand-drawn": _EVERY,
    "human things": frozenset(THINGS),
    "human person boxes, teacher masks": frozenset({"person"}),
    "human+teacher": frozenset({"road", "pavement"}),
}
"""By the manifest's `labels`: the classes that people drew; a teacher network drew the others."""


TEACHER_TRUST = 0.6
"""How much a pixel counts that a teacher network labelled, against one that a person did."""

SOURCE_POWER = 0.35
"""A source is drawn from as often as the number of its pictures to this power says: many of one place are little."""

ABSENCE_TRUST = 0.3
"""How much a pixel counts of which is known only what it is not."""

_CROPPED, _LEAST_CROP = 0.7, 0.5
"""Share of the samples that show a part of the picture, and the smallest part's side."""

_COARSE = 0.2
"""Share of the samples that are made to look as if they came from a coarser camera."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the manifest.

    Attributes:
        name: Of its files.
        source: Collection that it comes from.
        complete: Classes that are labelled wherever they are: a pixel that is unknown is certainly none of them.
        by_people: Classes that people drew.
        present: Countable classes that the manifest lists.
    """

    name: str
    source: str
    complete: frozenset[str]
    by_people: frozenset[str]
    present: frozenset[str]


@dataclass(frozen=True, slots=True)
class Street:
    """A picture and what is known of it.

    Attributes:
        entry: Its line of the manifest.
        image: (h, w, 3) uint8.
        class_map: (h, w) uint8, IGNORE where unknown.
        instance_map: (h, w) uint8, 0 where there is no thing, IGNORE where it is not known which.
    """

    entry: Entry
    image: NDArray[np.uint8]
    class_map: NDArray[np.uint8]
    instance_map: NDArray[np.uint8]


def entries(folder: Path) -> list[Entry]:
    """The pictures of a folder.

    Raises:
        UsageError: If it holds no manifest, or one of another form.
    """
    manifest = folder / "manifest.jsonl"
    try:
        rows = [json.loads(line) for line in manifest.read_text().splitlines() if line.strip()]
        found = [_entry(row) for row in rows]
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no labelled pictures: there is no manifest.jsonl in it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{manifest} is no manifest of labelled pictures: {error!r}") from error
    if not found:
        raise UsageError(f"{manifest} names no picture")
    return found


def load(folder: Path, entry: Entry) -> Street:
    """Reads a picture and its labels.

    Raises:
        UsageError: If a file is missing or damaged, or the labels have another size than the picture.
    """
    try:
        with Image.open(folder / "img" / f"{entry.name}.jpg") as opened:
            image = np.asarray(opened.convert("RGB"))
        labels = []
        for kind in ("sem", "inst"):
            with Image.open(folder / kind / f"{entry.name}.png") as opened:
                labels.append(np.array(opened))
    except OSError as error:
        raise UsageError(f"picture {entry.name} of {folder} cannot be read: {error}") from error
    for each in labels:
        if each.shape != image.shape[:2] or each.dtype != np.uint8:
            raise UsageError(
                f"labels of {entry.name} must be uint8 {image.shape[:2]}, not {each.dtype} {each.shape}"
            )
    return Street(entry, image, *labels)


class Album:
    """The pictures of a folder, to draw from.

    Args:
        folder: Of `entries`.

    Raises:
        UsageError: If the folder cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = entries(folder)
        sources = [entry.source for entry in self.entries]
        likely = np.array([sources.count(source) ** (SOURCE_POWER - 1) for source in sources])
        self.chances: NDArray[np.float64] = likely / likely.sum()

    def one(self, rng: np.random.Generator) -> Street:
        """A picture by chance."""
        return load(self.folder, self.entries[int(rng.choice(len(self.entries), p=self.chances))])


def sample(
    street: Street, size_hw: tuple[int, int], rng: np.random.Generator, augmented: bool = True
) -> Sample:
    """A question about classes and one about things, answered where the labels do; the picture fills the canvas."""
    if augmented:
        street = _part(street, rng)
    height, width = size_hw
    shown = Image.fromarray(street.image)
    if augmented and rng.random() < _COARSE:
        coarse = float(rng.uniform(0.4, 0.8))
        shown = shown.resize(
            (max(32, int(shown.width * coarse)), max(32, int(shown.height * coarse))), Image.Resampling.BOX
        )
    how = Image.Resampling.BOX if shown.width >= width else Image.Resampling.BICUBIC
    picture = np.asarray(shown.resize((width, height), how))
    is_mirrored = augmented and bool(rng.random() < 0.5)
    placement = random_placement(width, size_hw, rng if augmented else None)
    view = view_of(picture, size_hw, placement, is_mirrored, rng if augmented else None)
    inside = view.inside
    from_rows, from_columns = (
        each * there // wanted
        for each, there, wanted in zip(view.grid, street.class_map.shape, size_hw, strict=True)
    )
    class_map = np.where(inside, street.class_map[from_rows, from_columns], IGNORE).astype(np.uint8)
    instance_map = np.where(inside, street.instance_map[from_rows, from_columns], IGNORE)
    is_known = class_map != IGNORE
    phrases, table = questions.semantic(rng)
    answers = np.where(inside, _answers(street.entry, table)[class_map], 0)
    answers[answers == (2 << len(phrases)) - 1] = 0  # anything is allowed: nothing to learn
    thing, covers = questions.thing({CLASSES.index(name) for name in street.entry.present}, rng)
    things = covers[class_map] & is_known
    asked = {CLASSES[index] for index in np.nonzero(covers)[0]}
    is_told = inside & (is_known | bool(asked and asked <= street.entry.complete))
    is_apart = is_told & ~(things & ((instance_map == 0) | (instance_map == IGNORE)))
    centre, offset = centres_of(np.where(things & is_apart, instance_map, 0).astype(np.uint8), 2)
    all_centre, all_offset = centres_of(np.zeros((height // 4, width // 4), np.uint8), 4)
    return Sample(
        view.image,
        inside,
        np.array([kind in ("semantic", "instances") for kind in TAUGHT]),
        log_depth_of(np.zeros(inside.shape, np.float32), np.zeros(inside.shape, np.bool_)),
        math.nan,
        np.zeros((*inside.shape, 3), np.float32),
        class_map,
        phrases,
        answers.astype(np.int32),
        _trust(street.entry)[class_map],
        thing,
        things,
        is_told,
        is_apart,
        np.ones(inside.shape, np.float32),
        centre,
        offset,
        all_centre,
        all_offset,
        "",
        np.zeros(inside.shape, np.bool_),
        1.0,
    )


def _part(street: Street, rng: np.random.Generator) -> Street:
    """A random part of the picture, or all of it."""
    if rng.random() > _CROPPED:
        return street
    height, width = street.class_map.shape
    side, stretch = float(rng.uniform(_LEAST_CROP, 1.0)), math.exp(rng.normal(0, 0.1))
    inner_h, inner_w = int(height * min(1.0, side / stretch)), int(width * min(1.0, side * stretch))
    top, left = int(rng.integers(height - inner_h + 1)), int(rng.integers(width - inner_w + 1))
    rows, columns = slice(top, top + inner_h), slice(left, left + inner_w)
    return Street(
        street.entry,
        street.image[rows, columns],
        street.class_map[rows, columns],
        street.instance_map[rows, columns],
    )


def _answers(entry: Entry, table: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(256,) for each label of a class map bits of the answers that are allowed there (see `Sample.answers`)."""
    absent = {CLASSES.index(name) for name in entry.complete}
    unknown = 1  # the background: what nobody asked for
    for index in range(1, len(CLASSES)):
        if index not in absent:
            unknown |= 1 << int(table[index])
    allowed = questions.bits(table)
    allowed[0] = allowed[len(CLASSES) :] = unknown if absent else 0
    return allowed


def _trust(entry: Entry) -> NDArray[np.float32]:
    """(256,) for each label of a class map how much its pixels count.

    Losses weigh rare classes up, as each counts the same in rendered scenes; here by the root of that, because rare
    things were drawn where common ones are (a third of all cars came out as trucks and motorcycles).
    """
    trust = np.full(256, ABSENCE_TRUST, np.float32)
    for index, name in enumerate(CLASSES[1:], 1):
        trust[index] = 1.0 if name in entry.by_people else TEACHER_TRUST
    return (trust / class_weights().numpy() ** 0.5).astype(np.float32)


def _entry(row: dict[str, Any]) -> Entry:
    unknown = set(row["complete"]) - _EVERY
    if unknown:
        raise ValueError(f"complete names no classes of scenes: {', '.join(sorted(unknown))}")
    drawn = _EVERY if row.get("how") == "cam-hand" else _BY_PEOPLE.get(row.get("labels") or "", frozenset())
    present = frozenset(thing["cls"] for thing in row.get("things", ())) & THINGS
    return Entry(str(row["id"]), str(row["source"]), frozenset(row["complete"]), drawn, present)
