"""Endless training batches from folders of shots, lessons and streets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import IterableDataset

from plantain.operators.models.plantain.text import Vocabulary
from plantain.operators.models.plantain.training import lessons, samples, shards, streets
from plantain.operators.models.plantain.training.samples import Sample, TrainingBatch, collate
from plantain.operators.models.plantain.training.streets import Album
from plantain.operators.vocabulary import CLASSES

NUM_DRAWN = 3
"""Shots among which one is chosen for a sample."""

_RARE = np.array(
    [name in {"traffic light", "sign", "van", "truck", "bus", "motorcycle", "bicycle", "animal", "object"}
     for name in (*CLASSES, *[""] * (256 - len(CLASSES)))]
)  # fmt: skip
"""Which class ids stand in fewer than half of all frames."""


class Stream(IterableDataset[TrainingBatch]):
    """Endless batches from folders of shots, lessons and streets; the first two may grow and change meanwhile.

    Args:
        shots: Where `shards.render` writes; None for none.
        lessons: Where `lessons.store` writes; None for none.
        lesson_share: Of the samples, where there are shots or streets, too.
        streets: Labelled pictures (`streets.Album`); None for none.
        street_share: Of the samples, where there is anything else.
        vocabulary: Of the network.
        batch_size: Samples per batch.
        size_hw: Canvas of the samples.
        seed: Of the choice of frames, questions and disturbances.
    """

    def __init__(
        self,
        shots: Path | None,
        vocabulary: Vocabulary,
        batch_size: int,
        size_hw: tuple[int, int],
        seed: int,
        *,
        lessons: Path | None = None,
        lesson_share: float = 0.0,
        streets: Path | None = None,
        street_share: float = 0.0,
    ) -> None:
        super().__init__()
        self.shots, self.lessons = shots, lessons
        self.album = None if streets is None else Album(streets)
        shares = {
            "streets": 0.0 if streets is None else street_share,
            "lessons": 0.0 if lessons is None else lesson_share,
        }
        if shots is None:  # what is left of the samples would be rendered
            whole = sum(shares.values())
            shares = {name: share / whole for name, share in shares.items()} if whole else {"lessons": 1.0}
        self.shares = shares
        self.vocabulary, self.batch_size = vocabulary, batch_size
        self.size_hw, self.seed = size_hw, seed

    def __iter__(self) -> Iterator[TrainingBatch]:
        """Batches without end."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, 0 if worker is None else worker.id])
        count = 0
        while True:
            if count % 20 == 0:
                shots, taught = shards.files(self.shots), shards.files(self.lessons)
            count += 1
            batch = [self._sample(shots, taught, rng) for _ in range(self.batch_size)]
            yield collate(batch, self.vocabulary)

    def _sample(self, shots: list[Path], taught: list[Path], rng: np.random.Generator) -> Sample:
        chance = rng.random()
        if self.album is not None and chance < self.shares["streets"]:
            return streets.sample(self.album.one(rng), self.size_hw, rng)
        if chance < sum(self.shares.values()):
            lesson = lessons.load(taught[int(rng.integers(len(taught)))])
            return lessons.sample(lesson, self.size_hw, rng)
        return samples.sample(shards.load(self._one_of(shots, rng)), self.size_hw, rng)

    @staticmethod
    def _one_of(paths: list[Path], rng: np.random.Generator) -> Path:
        """Of some shots drawn by chance one, likelier where it shows rare things."""
        drawn = [paths[int(index)] for index in rng.integers(0, len(paths), NUM_DRAWN)]
        weights = np.array([0.5 + _RARE[shards.classes_of(path)].sum() for path in drawn])
        return drawn[int(rng.choice(NUM_DRAWN, p=weights / weights.sum()))]
