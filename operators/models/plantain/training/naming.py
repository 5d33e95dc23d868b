"""Which pixels a word names, fitted once more when the rest is learnt: by what is wanted, which is overlap.

Training weighs rare classes up and asks about a few words at a time; a picture is drawn by the highest of all scores.
So the layer that makes a word's query is fitted to mean intersection over union, of the classes of real streets and of
all classes of rendered ones, where everything before it stays as it is. What says how much a pixel is of one thing
rather than of none is kept near where it was: outlines of things and of what is referred to come from the same layer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from plantain.operators.models.plantain import weights
from plantain.operators.models.plantain.evaluation.street_scores import STREET_CLASSES
from plantain.operators.models.plantain.fields import EMBED, TASKS, Features
from plantain.operators.models.plantain.network import Network
from plantain.operators.models.plantain.text import Vocabulary
from plantain.operators.models.plantain.training import shards, streets
from plantain.operators.models.plantain.training.focusing import on_canvas
from plantain.operators.models.plantain.training.questions import IGNORE
from plantain.operators.vocabulary import CLASSES

log = structlog.get_logger(__name__)

NUM_RENDERED, NUM_OF_SOURCE = 600, 90
"""Frames that a fit looks at; of real ones so many of each source at most."""

NUM_PIXELS, NUM_KEPT = 400, 150
"""Pixels of each frame that are named, and that are kept where they are."""

KEPT_WORDS = ("car", "person", "the red car", "the nearest person")
"""What things are asked by, and what is referred to, for what is kept."""

STEPS, BATCH, RATE, KEEP, SHARPNESS = 300, 150, 4e-3, 0.3, 1.5
"""Steps, frames of each kind in one, the highest rate, the weight of what is kept, and by how much scores are
sharpened so that likelihoods come near to what is drawn (chosen 2026-11-30 on frames left out)."""

Places = NDArray[np.integer]

_STREETS = tuple(CLASSES.index(name) for name in STREET_CLASSES)
_ALL = tuple(range(1, len(CLASSES)))


@dataclass(frozen=True, slots=True)
class Examples:
    """Pixels of N frames, and what a word's query is made from.

    Attributes:
        pixels: (N, P, EMBED), what queries are compared with.
        words: (N, K + 1, C), what the layer reads of the background and of each word.
        labels: (N, P), the words' numbers from 1, 0 where nobody knows.
    """

    pixels: Tensor
    words: Tensor
    labels: Tensor

    def scores(self, weight: Tensor, bias: Tensor, chosen: Tensor | None = None) -> Tensor:
        """(N, P, K + 1) of the frames, or of those that are chosen, as in `Fields.logits`."""
        pixels, words = (each if chosen is None else each[chosen] for each in (self.pixels, self.words))
        queries = words @ weight.T + bias
        found: Tensor = pixels @ queries[..., :EMBED].transpose(1, 2) * EMBED**-0.5
        return found + queries[..., EMBED][:, None]


def name_anew(path: Path, scenes: Path, folder: Path) -> None:
    """Fits the layer of queries of a weights file, and writes it there.

    Args:
        path: The file.
        scenes: Folder of rendered frames, as `shards` stores them.
        folder: Folder of real pictures that are labelled in part, as `streets` reads them.
    """
    network, vocabulary = weights.load(path)
    rng = np.random.default_rng((0, 37))
    eye = _Eye(network, vocabulary, rng)
    files = shards.files(scenes)
    chosen = [files[index] for index in rng.permutation(len(files))[:NUM_RENDERED]]
    rendered, kept = eye.examples((shot.image, shot.class_map) for shot in map(shards.load, chosen))
    entries = defaultdict(list)
    for entry in streets.entries(folder):
        entries[entry.source].append(entry)
    some = [
        of[index] for of in entries.values() for index in rng.permutation(len(of))[:NUM_OF_SOURCE].tolist()
    ]
    real, also = eye.examples(
        (each.image, each.class_map) for each in (streets.load(folder, entry) for entry in some)
    )
    share = torch.tensor([min(len(entries[entry.source]), NUM_OF_SOURCE) ** -0.5 for entry in some])
    layer = network.decoder.to_query
    weight, bias = fitted(layer.weight, layer.bias, rendered, real, share, [kept, also])
    log.info("named", rendered=len(chosen), real=len(some))
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    weights.save(path, network, vocabulary, weights.notes(path))


def fitted(
    weight: Tensor,
    bias: Tensor,
    rendered: Examples,
    real: Examples,
    share: Tensor,
    kept: Iterable[Examples],
) -> tuple[Tensor, Tensor]:
    """The layer (EMBED + 1, C) and its bias that name pixels best.

    Args:
        weight: As it is.
        bias: As it is.
        rendered: Of which all classes count.
        real: Of which STREET_CLASSES count.
        share: (N,), how often each real frame is looked at.
        kept: Of one word each, whose score over the background's stays.
    """
    chance = torch.Generator().manual_seed(0)
    before = [(each, _odds(each, weight.detach(), bias.detach())) for each in kept if len(each.labels)]
    weight, bias = weight.detach().clone().requires_grad_(), bias.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([weight, bias], RATE)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        some = torch.randint(len(rendered.labels), (BATCH,), generator=chance)
        others = torch.multinomial(share, BATCH, replacement=True, generator=chance)
        loss = sum(
            ((_odds(each, weight, bias) - odds).square().mean() * KEEP for each, odds in before),
            start=torch.zeros(()),
        )
        for examples, frames, classes, weighed in (
            (rendered, some, _ALL, 0.1),
            (real, others, _STREETS, 0.05),
        ):
            scores, labels = (
                examples.scores(weight, bias, frames).flatten(0, 1),
                examples.labels[frames].flatten(),
            )
            known = labels > 0
            loss = loss - overlap(scores[known] * SHARPNESS, labels[known], classes)
            loss = loss + weighed * F.cross_entropy(scores[known], labels[known])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return weight.detach(), bias.detach()


def overlap(scores: Tensor, labels: Tensor, classes: Iterable[int]) -> Tensor:
    """Mean intersection over union of classes that are there, of likelihoods: scores (P, K + 1), labels (P,)."""
    likely = scores.softmax(-1)
    ratios = []
    for index in classes:
        true = (labels == index).float()
        if true.any():
            both = (likely[:, index] * true).sum()
            ratios.append(both / (likely[:, index].sum() + true.sum() - both))
    return torch.stack(ratios).mean() if ratios else scores.sum() * 0


def _odds(examples: Examples, weight: Tensor, bias: Tensor) -> Tensor:
    scores = examples.scores(weight, bias)
    return scores[..., 1] - scores[..., 0]


class _Eye:
    """What a network's layer of queries reads of pictures, and the pixels that these are compared with."""

    def __init__(self, network: Network, vocabulary: Vocabulary, rng: np.random.Generator) -> None:
        self._network, self._rng = network, rng
        self._read: list[Tensor] = []
        network.decoder.to_query.register_forward_pre_hook(lambda _, given: self._read.append(given[0]))
        with torch.inference_mode():
            classes = network.phrases(vocabulary.tensor(CLASSES[1:]))
            things = [network.phrases(vocabulary.tensor([word])) for word in KEPT_WORDS]
        self._classes = TASKS.index("semantic"), classes
        half = len(things) // 2
        self._kept = [
            (TASKS.index(task), word)
            for task, words in (("instances", things[:half]), ("refer", things[half:]))
            for word in words
        ]

    def examples(
        self, pictures: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
    ) -> tuple[Examples, Examples]:
        """Of pictures (H, W, 3) with class ids (H, W): of all classes, and of one of KEPT_WORDS each."""
        named, kept = [], []
        for count, (picture, class_map) in enumerate(pictures):
            labels = np.where(class_map == IGNORE, 0, class_map)
            shown = on_canvas(picture)
            with torch.inference_mode():
                features = self._network.encoder(
                    torch.from_numpy(shown).permute(2, 0, 1)[None].float().div(255)
                )
                known = np.flatnonzero(labels)
                at = (
                    known[self._rng.integers(0, len(known), NUM_PIXELS)]
                    if len(known)
                    else np.zeros(NUM_PIXELS, int)
                )
                rows, columns = np.unravel_index(at, labels.shape)
                scale = shown.shape[1] / labels.shape[1]
                half = (((rows + 0.5) * scale / 2).astype(int), ((columns + 0.5) * scale / 2).astype(int))
                named.append(self._at(features, *self._classes, *half, labels[rows, columns]))
                rows, columns = (self._rng.integers(0, side // 2, NUM_KEPT) for side in shown.shape[:2])
                task, word = self._kept[count % len(self._kept)]
                kept.append(self._at(features, task, word, rows, columns, np.ones(NUM_KEPT, np.int64)))
        return _together(named), _together(kept)

    def _at(
        self, features: Features, task: int, phrases: Tensor, rows: Places, columns: Places, labels: Places
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels, words and labels of one question about one picture, at places of half its resolution."""
        self._read.clear()
        every = torch.ones((1, len(phrases)), dtype=torch.bool)
        fields = self._network.decoder(features, torch.tensor([task]), phrases[None], every)
        rows = np.minimum(rows, fields.pixels.shape[2] - 1)
        columns = np.minimum(columns, fields.pixels.shape[3] - 1)
        pixels = fields.pixels[0, :, torch.from_numpy(rows), torch.from_numpy(columns)].T
        return pixels.clone(), self._read[0][0].clone(), torch.from_numpy(labels.astype(np.int64))


def _together(found: list[tuple[Tensor, Tensor, Tensor]]) -> Examples:
    if not found:
        return Examples(torch.zeros(0, 0, EMBED), torch.zeros(0, 2, 1), torch.zeros(0, 0, dtype=torch.int64))
    pixels, words, labels = (torch.stack(each) for each in zip(*found, strict=True))
    return Examples(pixels, words, labels)
