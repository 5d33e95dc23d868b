"""Whether pictures drawn from words show what the words say, as the backend's own perception sees them.

A drawing has no truth to compare with, so the same eyes look at three pictures: the one drawn for a description, the
one drawn for another description (what is found by chance) and the rendered scene that was described (what these eyes
find in a true answer). A perfect generator reaches the third, one that ignores the words the second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import codec_for
from plantain.operators.answers.masks.value import Masks
from plantain.operators.models import truth
from plantain.operators.models.base import ModelBackend
from plantain.operators.models.plantain.evaluation import metrics
from plantain.operators.models.plantain.evaluation.metrics import Sums
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import Scene, described, referring
from plantain.operators.scenes.descriptions import MIN_SHARE
from plantain.operators.vocabulary import CLASSES

MEASURES = ("drawn", "chance", "rendered")
"""Where the named classes are looked for."""

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Drawing:
    """A description, the picture drawn for it, and the one it was made from; (H, W, 3) uint8."""

    description: str
    named: tuple[str, ...]
    drawn: NDArray[np.uint8]
    rendered: NDArray[np.uint8]


def drawings(backend: ModelBackend, num_scenes: int, size_hw: tuple[int, int] = (224, 384)) -> list[Drawing]:
    """Pictures drawn for descriptions of held-out scenes, each of which names a class or more.

    Raises:
        ModelError: If the backend draws no pictures.
    """
    found = []
    blank = np.zeros((1, *size_hw, 3), np.uint8)
    for seed in range(num_scenes):
        rng = np.random.default_rng((seed, 29))
        scene = Scene(seed, split="heldout", size_hw=size_hw)
        frame = scene.render(int(rng.integers(0, 250)) / truth.FRAMES_PER_S)
        referred = [words for words, meant in referring(frame, rng) if meant]
        for _ in range(_TRIES):
            description, named = described(scene.setting, frame.class_map, referred, rng)
            if named:
                break
        prompt = Prompt.parse(f"generate:{description}")
        found.append(Drawing(description, named, backend.render(blank, [0], [prompt])[0], frame.image))
    return found


def recognised(backend: ModelBackend, made: list[Drawing]) -> dict[str, float | list[float]]:
    """Share of the named classes that the backend finds, by MEASURES, each with `<name>_ci`."""
    drawn = [_seen(backend, each.drawn) for each in made]
    sums: list[Sums] = []
    for index, each in enumerate(made):
        looked = (drawn[index], drawn[index - 1], _seen(backend, each.rendered))
        counts = [float(sum(name in seen for name in each.named)) for seen in looked]
        own = {name: np.asarray(count) for name, count in zip(MEASURES, counts, strict=True)}
        sums.append(own | {"named": np.asarray(float(len(each.named)))})
    return metrics.summary(sums, measured={name: metrics.share(name, "named") for name in MEASURES})


def _seen(backend: ModelBackend, picture: NDArray[np.uint8]) -> frozenset[str]:
    """The classes that cover at least MIN_SHARE of a picture."""
    prompt = Prompt.parse(f"semantic:{','.join(CLASSES[1:])}")
    value = codec_for(prompt).decode(backend.render(picture[None], [0], [prompt])[0], prompt)
    assert isinstance(value, Masks)
    shares = np.bincount(value.labels.ravel(), minlength=len(value.names) + 1) / value.labels.size
    return frozenset(name for name, share in zip(value.names, shares[1:], strict=True) if share > MIN_SHARE)
