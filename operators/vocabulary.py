"""Words for what streets hold: classes, other words for them, wider words, and what a phrase covers."""

from __future__ import annotations

from collections.abc import Sequence

CLASSES: tuple[str, ...] = (
    "void", "road", "lane marking", "crossing", "pavement", "terrain", "building", "wall", "sky",
    "vegetation", "pole", "traffic light", "sign", "car", "van", "truck", "bus", "motorcycle", "bicycle",
    "person", "animal", "object",
)  # fmt: skip
"""Index is the class id of `SceneFrame.class_map`; 0 is void."""

CLASS_ID: dict[str, int] = {name: index for index, name in enumerate(CLASSES)}

COLOURS: tuple[str, ...] = (
    "white", "black", "grey", "red", "blue", "green", "yellow", "orange", "brown",
)  # fmt: skip
"""The words for colours of things."""

THINGS: frozenset[str] = frozenset(
    {
        "car", "van", "truck", "bus", "motorcycle", "bicycle", "person", "animal", "traffic light", "sign",
        "object",
    }
)  # fmt: skip
"""Classes whose pixels carry an instance id."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "road": ("roads", "street", "streets", "roadway", "carriageway", "asphalt", "tarmac", "drivable area"),
    "lane marking": (
        "lane markings", "lane line", "lane lines", "road marking", "road markings", "lane", "lanes",
    ),
    "crossing": ("crossings", "crosswalk", "crosswalks", "zebra crossing", "zebra", "pedestrian crossing"),
    "pavement": ("pavements", "sidewalk", "sidewalks", "footpath", "footway", "walkway", "kerb", "curb"),
    "terrain": ("grass", "lawn", "soil", "dirt", "field", "verge", "meadow"),
    "building": ("buildings", "house", "houses", "facade", "facades", "tower", "towers", "skyscraper"),
    "wall": ("walls", "fence", "fences", "barrier", "barriers", "hedge wall", "guard rail", "guardrail"),
    "sky": ("skies", "heaven", "cloud", "clouds"),
    "vegetation": (
        "tree", "trees", "bush", "bushes", "plant", "plants", "hedge", "foliage", "shrub", "leaves",
    ),
    "pole": (
        "poles", "post", "posts", "lamp post", "lamp posts", "street lamp", "street light", "lamppost",
        "streetlight",
    ),
    "traffic light": ("traffic lights", "traffic signal", "traffic signals", "stoplight", "signal light"),
    "sign": ("signs", "traffic sign", "traffic signs", "road sign", "road signs", "street sign", "signboard"),
    "car": ("cars", "automobile", "automobiles", "sedan", "hatchback", "suv", "taxi", "motor car", "auto"),
    "van": ("vans", "minivan", "delivery van", "minibus", "camper"),
    "truck": ("trucks", "lorry", "lorries", "hgv", "semi", "pickup truck"),
    "bus": ("buses", "coach", "coaches", "omnibus"),
    "motorcycle": ("motorcycles", "motorbike", "motorbikes", "scooter", "scooters", "moped"),
    "bicycle": ("bicycles", "bike", "bikes", "cycle", "pushbike"),
    "person": (
        "persons", "people", "pedestrian", "pedestrians", "human", "humans", "man", "men", "woman", "women",
        "walker", "child", "children", "boy", "boys", "girl", "girls",
    ),
    "animal": ("animals", "dog", "dogs", "pet", "pets", "horse", "horses", "cat", "sheep"),
    "object": (
        "objects", "street furniture", "bin", "bins", "bench", "benches", "cone", "cones", "bollard",
        "hydrant",
    ),
}  # fmt: skip
"""Class -> other words for it, singular and plural."""

GROUPS: dict[str, tuple[str, ...]] = {
    "vehicle": ("car", "van", "truck", "bus", "motorcycle", "bicycle"),
    "vehicles": ("car", "van", "truck", "bus", "motorcycle", "bicycle"),
    "motor vehicle": ("car", "van", "truck", "bus", "motorcycle"),
    "motor vehicles": ("car", "van", "truck", "bus", "motorcycle"),
    "four wheeler": ("car", "van", "truck", "bus"),
    "two wheeler": ("motorcycle", "bicycle"),
    "two wheelers": ("motorcycle", "bicycle"),
    "large vehicle": ("truck", "bus"),
    "ground": ("road", "lane marking", "crossing", "pavement", "terrain"),
    "floor": ("road", "lane marking", "crossing", "pavement", "terrain"),
    "flat": ("road", "lane marking", "crossing", "pavement"),
    "nature": ("vegetation", "terrain"),
    "construction": ("building", "wall"),
    "structure": ("building", "wall"),
    "living being": ("person", "animal"),
}
"""Wider words -> classes."""

_PARTS: dict[str, tuple[str, ...]] = {"road": ("lane marking", "crossing"), "car": ("van",)}
"""A class asked for covers these too, unless they are asked for themselves."""


def class_of(phrase: str) -> str | None:
    """The one class that a word names, None when it names none or several."""
    return _WORDS.get(_normalise(phrase))


def members_of(phrase: str, asked: Sequence[str] = ()) -> frozenset[int]:
    """Class ids that a phrase covers.

    Args:
        phrase: What is asked for, such as "car", "sidewalk" or "vehicles".
        asked: All phrases of the same question. Parts of a class (lane markings of the road, vans
            among cars) and members of a wider word belong to it only when none of the others asks for them.

    Returns:
        Class ids; empty when the phrase is unknown.
    """
    key = _normalise(phrase)
    others = {_normalise(other) for other in asked} - {key}
    taken = {name for other in others if (name := _WORDS.get(other)) is not None}
    name = _WORDS.get(key)
    if name is not None:
        covered = {name, *_PARTS.get(name, ())}
        return frozenset(CLASS_ID[each] for each in covered if each == name or each not in taken)
    group = _GROUPS.get(key)
    if group is None:
        return frozenset()
    return frozenset(CLASS_ID[each] for each in group if each not in taken)


def _normalise(phrase: str) -> str:
    """Lower case, single spaces, without an article."""
    words = phrase.lower().replace("-", " ").replace("_", " ").split()
    while words and words[0] in {"a", "an", "the", "all", "every"}:
        words = words[1:]
    return " ".join(words)


_WORDS: dict[str, str] = {name: name for name in CLASSES[1:]} | {
    _normalise(word): name for name, words in SYNONYMS.items() for word in words
}
_GROUPS: dict[str, tuple[str, ...]] = {
    _normalise(word): members for word, members in GROUPS.items() if _normalise(word) not in _WORDS
}
