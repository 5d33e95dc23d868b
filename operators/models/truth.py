"""What is true about a rendered frame, in the form in which a prompt's drawing decodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.regions import without_gaps
from plantain.operators.answers.masks.value import Masks
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.errors import ModelError
from plantain.operators.prompts import Prompt, Task
from plantain.operators.scenes import SceneFrame, referring
from plantain.operators.types import Value
from plantain.operators.vocabulary import members_of

FRAMES_PER_S = 25.0
"""Frame `index` of a stamped scene shows the moment `index / FRAMES_PER_S`."""


def expressions(frame: SceneFrame, seed: int, index: int) -> list[tuple[str, frozenset[int]]]:
    """The referring expressions that are asked about frame `index` of scene `seed`, always the same ones."""
    return referring(frame, np.random.default_rng((seed, index, 11)))


def answer(frame: SceneFrame, prompt: Prompt, meant: frozenset[int] = frozenset()) -> Value:
    """The exact answer to a prompt about a rendered frame.

    Args:
        frame: With its labels.
        prompt: Any perception prompt.
        meant: The instances that a referring expression means.

    Raises:
        ModelError: If the prompt asks for something that labels do not say.
    """
    if prompt.codec == "depth":
        valid = np.isfinite(frame.depth_m) & (frame.depth_m > 0)
        return DepthMap(np.where(valid, frame.depth_m, 0).astype(np.float32), valid, 0.0)
    if prompt.codec == "normals":
        return NormalMap(frame.normals, np.square(frame.normals).sum(axis=-1) > 0.25, 0.0)
    if prompt.task is Task.SEMANTIC:
        table = np.zeros(256, np.uint16)
        for index in reversed(range(len(prompt.classes))):
            for member in members_of(prompt.classes[index], prompt.classes):
                table[member] = index + 1
        return _masks(table[frame.class_map], prompt.classes)
    if prompt.codec == "instances":
        name = prompt.classes[0] if prompt.classes else prompt.text
        return _masks(objects(frame, name), (name,), repeated=True)
    if prompt.task is Task.REFER:
        return _masks(np.isin(frame.instance_map, sorted(meant)).astype(np.uint16), prompt.classes)
    raise ModelError(f"scenes have no answer to '{prompt}': ask for a perception task")


def objects(frame: SceneFrame, phrase: str) -> NDArray[np.uint16]:
    """(H, W) labels 1..n of the things that a phrase covers, each one apart."""
    inside = np.isin(frame.class_map, sorted(members_of(phrase, (phrase,))))
    ids = np.where(inside, frame.instance_map, 0)
    return without_gaps(ids)[0]


def _masks(labels: NDArray[np.uint16], names: tuple[str, ...], repeated: bool = False) -> Masks:
    """Masks of the labels that occur, numbered without gaps."""
    numbered, present = without_gaps(labels)
    found = names * len(present) if repeated else tuple(names[each - 1] for each in present)
    return Masks(numbered, found, np.ones(len(found), np.float32), 0.0)
