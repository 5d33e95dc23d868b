"""Descriptions: a sentence that says what a picture of a scene shows, for who draws from words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plantain.operators.vocabulary import CLASSES, COLOURS, SYNONYMS

MIN_SHARE = 0.004
"""What covers a smaller share of the picture is not spoken of."""

MAX_THINGS = 3
"""Classes and coloured things named in one sentence; a reader of MAX_WORDS words gets all of it."""

PLACES: dict[str, tuple[str, ...]] = {
    "street": ("street", "road", "city street"),
    "junction": ("junction", "crossroads", "intersection"),
    "highway": ("highway", "motorway"),
    "car park": ("car park", "parking lot"),
    "pavement": ("pavement", "sidewalk"),
    "square": ("square", "plaza"),
    "room": ("room", "indoor room"),
    "suburb": ("suburb", "street"),
    "roundabout plaza": ("square", "plaza"),
}
"""Layout -> words for it."""

TIMES: dict[str, tuple[str, ...]] = {
    "sunny": ("in sunshine", "on sunny day", "by day"),
    "hazy": ("on hazy day", "in haze", "by day"),
    "overcast": ("on overcast day", "under grey clouds", "by day"),
    "dusk": ("at dusk", "in evening", "at sunset"),
    "night": ("at night", "in dark"),
    "rain": ("in rain", "on rainy day"),
    "fog": ("in fog", "on foggy day"),
}
"""Weather -> words for it."""

_COLOURED = re.compile(rf"({'|'.join(COLOURS)}) (car|van|truck|bus|motorcycle|bicycle)$")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a whole scene is like.

    Attributes:
        layout: As `layout.fill` says.
        weather: One of `light.WEATHERS`.
        is_wet: Whether the ground is.
    """

    layout: str
    weather: str
    is_wet: bool


def described(
    setting: Setting, class_map: NDArray[np.uint8], referred: Iterable[str], rng: np.random.Generator
) -> tuple[str, tuple[str, ...]]:
    """A sentence such as "a wet street at night with a red car and buildings".

    Args:
        setting: Of the scene.
        class_map: (H, W) class ids of the picture.
        referred: Referring expressions that mean something in it: they know the colours of things.
        rng: Chooses what is said, and in which words.

    Returns:
        The sentence, and the classes that it names.
    """
    shares = np.bincount(class_map.ravel(), minlength=len(CLASSES))[: len(CLASSES)] / class_map.size
    there = [CLASSES[index] for index in np.flatnonzero(shares[1:] > MIN_SHARE) + 1]
    colours = {found[2]: found[1] for words in referred if (found := _COLOURED.search(words))}
    # What is in hardly any picture says more about this one than what is in all of them.
    rarity = np.array([0.25 if name in _COMMON else 1.0 for name in there])
    count = min(len(there), int(rng.integers(0, MAX_THINGS + 1)))
    named = rng.choice(there, count, replace=False, p=rarity / rarity.sum()).tolist() if count else []
    things = []
    for name in named:
        noun = str(rng.choice(SYNONYMS[name])) if rng.random() < 0.3 else name
        colour = colours.get(name, "")
        things.append(f"{colour} {noun}" if colour and rng.random() < 0.8 else noun)
    place = str(rng.choice(PLACES[setting.layout]))
    time = str(rng.choice(TIMES[setting.weather]))
    words = ["a"]
    if setting.is_wet and rng.random() < 0.7:
        words.append("wet")
    words += [place] if rng.random() < 0.9 else ["scene"]
    words += [time] if rng.random() < 0.85 else []
    words += ["with", " and ".join(things)] if things else []
    return " ".join(words), tuple(named)


def all_words() -> tuple[str, ...]:
    """Every phrase that descriptions are made of."""
    nouns = (*CLASSES[1:], *(word for words in SYNONYMS.values() for word in words))
    said = (each for table in (PLACES, TIMES) for words in table.values() for each in words)
    return (*nouns, *said, *COLOURS, "wet", "scene", "with", "and")


_COMMON = frozenset({"road", "sky", "building", "pavement", "vegetation", "lane marking", "terrain", "wall"})
