"""Training questions about a frame: which words are asked, and what each covers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plantain.operators.vocabulary import CLASSES, GROUPS, SYNONYMS, THINGS, class_of, members_of

IGNORE = 255
"""Target of pixels that no loss looks at (void, padding)."""

MAX_PHRASES = len(CLASSES) - 1

_ALIEN = (
    "zebra", "sofa", "airplane", "boat", "banana", "laptop", "chair", "table", "fork", "piano", "bear",
    "rocket", "snowboard", "bottle", "keyboard", "clock", "giraffe", "pizza", "violin", "helicopter",
    "submarine", "curtain",
)  # fmt: skip
"""Words for things that no scene holds, so that asking for one is answered with nothing."""

_MIRRORED = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}


def all_words() -> tuple[str, ...]:
    """Every phrase that questions are made of, referring expressions apart."""
    return (*CLASSES[1:], *(word for words in SYNONYMS.values() for word in words), *GROUPS, *_ALIEN)


def semantic(rng: np.random.Generator) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """Phrases in random order, and for each class id its phrase's index + 1 (0: none, IGNORE: void)."""
    names = list(CLASSES[1:])
    if rng.random() > 0.4:
        names = [names[index] for index in rng.permutation(len(names))[: rng.integers(1, len(names) + 1)]]
    phrases = [_other_word(name, rng) if rng.random() < 0.3 else name for name in names]
    if rng.random() < 0.15:
        phrases[int(rng.integers(len(phrases)))] = str(rng.choice(tuple(GROUPS)))
    if rng.random() < 0.25:
        phrases[int(rng.integers(len(phrases)))] = str(rng.choice(_ALIEN))
    phrases = list(dict.fromkeys(phrases))
    table = np.zeros(256, np.uint8)
    for index in reversed(range(len(phrases))):
        for member in members_of(phrases[index], phrases):
            table[member] = index + 1
    table[0] = table[len(CLASSES) :] = IGNORE
    return tuple(phrases), table


def bits(table: NDArray[np.uint8]) -> NDArray[np.int32]:
    """For each label the bits of its only answer, none for IGNORE; `table` as `semantic` and others give it."""
    return np.where(table == IGNORE, 0, np.left_shift(np.int32(1), table.astype(np.int32) % 32)).astype(
        np.int32
    )


def thing(present: set[int], rng: np.random.Generator) -> tuple[str, NDArray[np.bool_]]:
    """A phrase that names countable things, likely present ones, and which class ids it covers (256,)."""
    names = [CLASSES[index] for index in sorted(present) if CLASSES[index] in THINGS]
    draw = rng.random()
    if names and draw < 0.7:
        name = str(rng.choice(names))
    elif draw < 0.94:
        name = str(rng.choice(sorted(THINGS)))
    else:
        name = str(rng.choice(_ALIEN))
    if name in SYNONYMS and rng.random() < 0.3:
        name = _other_word(name, rng)
    if rng.random() < 0.12:
        name = str(rng.choice([word for word, parts in GROUPS.items() if set(parts) <= THINGS]))
    covers = np.zeros(256, np.bool_)
    covers[sorted(members_of(name, (name,)))] = True
    return name, covers


def asked_again(
    classes: Sequence[str], names: Sequence[str], rng: np.random.Generator | None
) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """A question about classes of an answered one.

    Args:
        classes: Of the answered question.
        names: Of its answer's regions 1..n.
        rng: Chooses some of them, in any order; all of them as they are without.

    Returns:
        Phrases, and for each label of the answer its phrase's index + 1 (0: none of them).
    """
    order = np.arange(len(classes)) if rng is None else rng.permutation(len(classes))
    count = len(classes)
    if rng is not None and rng.random() > 0.6:
        count = int(rng.integers(1, len(classes) + 1))
    phrases = tuple(classes[index] for index in order[: min(count, MAX_PHRASES)])
    table = [phrases.index(name) + 1 if name in phrases else 0 for name in names]
    return phrases, np.array([0, *table], np.uint8)


def class_ids(names: Sequence[str]) -> NDArray[np.uint8]:
    """For each label of an answer the class that its name means, IGNORE where it means none or several."""
    found = [class_of(name) for name in names]
    ids = [CLASSES.index(name) if name is not None else IGNORE for name in found]
    return np.array([IGNORE, *ids], np.uint8)


def mirrored(expression: str) -> str:
    """The expression that means the same region in the picture flipped left to right."""
    return " ".join(_MIRRORED.get(word, word) for word in expression.split())


def _other_word(name: str, rng: np.random.Generator) -> str:
    return str(rng.choice(SYNONYMS[name])) if SYNONYMS.get(name) else name
