"""Teaching the generator to draw: rendered scenes with descriptions in, its weights out, within a budget of time.

shards/*.npz --Drafts (worker processes)--> DraftBatch --Drafter--> generator.pt, weights

Whatever else the weights know stays as it is: nothing but the generator is taught.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import structlog
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's name for it)
from torch.utils.data import IterableDataset

from plantain.operators.models.plantain import weights
from plantain.operators.models.plantain.generator import CELL, CHANNELS, CODE, Generator
from plantain.operators.models.plantain.memory import keep_freed_memory
from plantain.operators.models.plantain.precision import has_bfloat16
from plantain.operators.models.plantain.text import Vocabulary
from plantain.operators.models.plantain.training import shards
from plantain.operators.models.plantain.training.loading import Part, batches_of, write_checkpoint
from plantain.operators.models.plantain.training.shards import Shot
from plantain.operators.scenes import described, descriptions

log = structlog.get_logger(__name__)

SILENT = 0.12
"""Share of samples without words, which guidance leans away from."""

FINISHED_PER_BATCH = 2
"""Pictures of a batch that the finisher learns from beside the sketches; `finishing` teaches it the rest."""


@dataclass(frozen=True, slots=True)
class DraftOptions:
    """What a run is told.

    Attributes:
        folder: Where the checkpoint and the weights go.
        shards: Rendered training scenes.
        init: Weights whose generator is taught.
        minutes: Budget; the learning rate falls to zero at its end.
        steps: End after so many, where that comes first; None for no such end.
        batch_size: Samples per step.
        learning_rate: At its highest.
        seed: Of initial weights and of the data's order.
        threads: Of the training process.
        loaders: Processes that prepare batches; 0 to do it in between.
        finishing: Teach only how sketches become pictures, from every sample, and leave the sketches as they are.
        render: Also start a rendering process, which keeps adding scenes.
        assets: Meshes for the rendering process.
    """

    folder: Path
    shards: Path
    init: Path
    minutes: float = 60.0
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0
    threads: int = 1
    loaders: int = 1
    finishing: bool = False
    render: bool = False
    assets: Path | None = None


@dataclass(frozen=True, slots=True)
class DraftBatch:
    """Sketches with descriptions.

    Attributes:
        sketches: (B, CHANNELS, 28, 48) float32, about -1 to 1.
        ids: (B, MAX_WORDS) word ids, all zeros where nothing is said.
        pictures: (P, 3, 224, 384) float32, -1 to 1, of the first P sketches.
    """

    sketches: Tensor
    ids: Tensor
    pictures: Tensor


class Drafts(IterableDataset[DraftBatch]):
    """Endless batches from a folder of shots, which may grow and change meanwhile.

    Args:
        folder: Where `shards.render` writes.
        vocabulary: Of the generator.
        batch_size: Samples per batch.
        seed: Of the choice of frames and words.
        num_pictures: How many of them with their picture.
    """

    def __init__(
        self,
        folder: Path,
        vocabulary: Vocabulary,
        batch_size: int,
        seed: int,
        num_pictures: int = FINISHED_PER_BATCH,
    ) -> None:
        super().__init__()
        self.folder, self.vocabulary, self.batch_size, self.seed = folder, vocabulary, batch_size, seed
        self.num_pictures = num_pictures

    def __iter__(self) -> Iterator[DraftBatch]:
        """Batches without end."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, 0 if worker is None else worker.id])
        count = 0
        while True:
            if count % 20 == 0:
                paths = shards.files(self.folder)
            count += 1
            sketches: list[Tensor] = []
            pictures: list[Tensor] = []
            words: list[str] = []
            for index in rng.integers(0, len(paths), self.batch_size):
                shot = shards.load(paths[int(index)])
                is_mirrored = bool(rng.random() < 0.5)
                sketches.append(sketch_of(shot, is_mirrored))
                referred = (said for said, ids in shot.expressions if ids)
                sentence, _ = described(shot.setting, shot.class_map, referred, rng)
                words.append("" if rng.random() < SILENT else sentence)
                if len(pictures) < self.num_pictures:
                    picture = torch.from_numpy(shot.image).permute(2, 0, 1) / 127.5 - 1
                    pictures.append(picture.flip(2) if is_mirrored else picture)
            ids = self.vocabulary.tensor(words)
            ids[torch.tensor([not said for said in words])] = 0
            yield DraftBatch(torch.stack(sketches), ids, torch.stack(pictures))


def sketch_of(shot: Shot, is_mirrored: bool = False) -> Tensor:
    """What each cell of a rendered frame holds on average, (CHANNELS, H/8, W/8) float32."""
    sky = ~np.isfinite(shot.depth_m)
    distance = np.log(np.where(sky, FAR_M, shot.depth_m).clip(0.5, FAR_M).astype(np.float32))
    planes = np.concatenate(
        [
            CODES[shot.class_map],
            ((distance - LOG_MIDDLE) / LOG_RANGE)[..., None],
            shot.normals.astype(np.float32) / 127,
            shot.image.astype(np.float32) / 127.5 - 1,
        ],
        axis=-1,
    )
    height, width = sky.shape
    cells = planes.reshape(height // CELL, CELL, width // CELL, CELL, CHANNELS).mean(axis=(1, 3))
    if is_mirrored:
        cells = cells[:, ::-1].copy()
        cells[..., CODE + 1] *= -1  # what faced right faces left
    return torch.from_numpy(cells).permute(2, 0, 1).contiguous()


FAR_M = 300.0
LOG_MIDDLE, LOG_RANGE = 2.7, 1.7
"""Of the logarithm of metres: what becomes 0 and 1 of a sketch."""

CODES = np.random.default_rng(6125).choice(np.array([-1.0, 1.0], np.float32), (256, CODE))
"""What stands for each class in a sketch; with this seed any two of the classes differ in two numbers or more."""


def losses(generator: Generator, batch: DraftBatch, chance: torch.Generator) -> dict[str, Tensor]:
    """The mean squared error of the way from noise to sketch, and what `finish_losses` gives."""
    words = generator.understood(batch.ids)
    noise = torch.randn(batch.sketches.shape, generator=chance)
    when = torch.randn(len(noise), generator=chance).sigmoid()  # the middle of the way is the hardest
    mixed = torch.lerp(noise, batch.sketches, when[:, None, None, None])
    moved = generator.velocity(mixed, when, words).float()
    finish = finish_losses(generator, batch, words, chance)
    return {"flow": F.mse_loss(moved, batch.sketches - noise), **finish}


def finish_losses(
    generator: Generator, batch: DraftBatch, words: Tensor, chance: torch.Generator
) -> dict[str, Tensor]:
    """The finisher's error in pixels and in liveliness."""
    # Sketches that are drawn are not as clean as those of rendered frames.
    count = len(batch.pictures)
    dust = torch.randn(batch.sketches[:count].shape, generator=chance)
    rough = batch.sketches[:count] + ROUGHNESS * torch.rand(count, 1, 1, 1, generator=chance) * dust
    grain = torch.randn(count, 1, *(2 * side for side in dust.shape[2:]), generator=chance)
    finished = generator.finisher(rough, words[:count].mean(1), grain).float()
    return {
        "finish": F.l1_loss(finished, batch.pictures),
        "detail": F.l1_loss(_detail(finished), _detail(batch.pictures)),
    }


ROUGHNESS = 0.3
"""Largest noise on the sketches that the finisher learns from."""


def _detail(pictures: Tensor) -> Tensor:
    """How much each cell's neighbours differ, down and across, (B, 6, h, w): how lively it is, wherever that is.

    Compared pixel by pixel, no detail costs less than detail in the wrong place, and everything comes out smooth.
    """
    down = F.pad(pictures.diff(dim=2).abs(), (0, 0, 0, 1))
    across = F.pad(pictures.diff(dim=3).abs(), (0, 1, 0, 0))
    return F.avg_pool2d(torch.cat([down, across], 1), CELL)


def train(options: DraftOptions) -> Path:
    """Trains, or goes on from the folder's last checkpoint, until the budget is spent.

    Returns:
        The exported weights (safetensors), with the averaged generator.
    """
    options.folder.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    log.info("drafting", **{name: str(value) for name, value in asdict(options).items()})
    with shards.rendering(options.shards, options.assets) if options.render else nullcontext():
        drafter = Drafter(options)
        drafter.run()
        return drafter.export()


class Drafter:
    """One run: generator, its running average, optimiser, and where it stands."""

    def __init__(self, options: DraftOptions) -> None:
        self.options = options
        self.network, self.vocabulary = weights.extended(
            *weights.load(options.init), descriptions.all_words()
        )
        self.average = self.network.generator
        self.lessons_before = int(self.average.lessons)
        self.generator = Generator(self.vocabulary.num_ids)
        self.generator.to(memory_format=torch.channels_last)
        if self.average.lessons:
            self.generator.load_state_dict(self.average.state_dict())
        self.average.load_state_dict(self.generator.state_dict())
        self.network.requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.generator.parameters(), lr=options.learning_rate, weight_decay=0.01, fused=True
        )
        self.step, self.elapsed_s = 0, 0.0
        self.checkpoint = options.folder / "generator.pt"
        if self.checkpoint.exists():
            held = torch.load(self.checkpoint, weights_only=True)
            self.generator.load_state_dict(held["generator"])
            self.average.load_state_dict(held["average"])
            self.optimiser.load_state_dict(held["optimiser"])
            self.step, self.elapsed_s = held["step"], held["elapsed_s"]

    def run(self) -> None:
        """Steps until the budget is spent; checkpoints every three minutes."""
        options = self.options
        chance = torch.Generator().manual_seed(options.seed + self.step)
        drafts = Drafts(
            options.shards,
            self.vocabulary,
            options.batch_size,
            options.seed * 1000 + self.step,
            options.batch_size if options.finishing else FINISHED_PER_BATCH,
        )
        sums: dict[str, float] = {}
        saved_s, last = self.elapsed_s, time.perf_counter()
        for batch in batches_of(drafts, options.loaders):
            now = time.perf_counter()
            self.elapsed_s, last = self.elapsed_s + now - last, now
            progress = self.elapsed_s / (options.minutes * 60)
            if options.steps is not None:
                progress = max(progress, self.step / options.steps)
            if progress >= 1:
                break
            for name, value in self._step(batch, progress, chance).items():
                sums[name] = sums.get(name, 0.0) + value / 100
            if self.step % 100 == 0:
                log.info(
                    "step",
                    step=self.step,
                    minutes=round(self.elapsed_s / 60, 1),
                    **{name: round(value, 4) for name, value in sums.items()},
                )
                sums = {}
            if self.elapsed_s - saved_s > 180:
                saved_s = self.elapsed_s
                self.save()
        self.save()

    def save(self) -> None:
        """Writes the checkpoint; a reader sees the old one or the new one."""
        parts: dict[str, Part] = {
            "generator": self.generator,
            "average": self.average,
            "optimiser": self.optimiser,
        }
        write_checkpoint(self.checkpoint, parts, step=self.step, elapsed_s=self.elapsed_s)

    def export(self) -> Path:
        """The given weights with the averaged generator, in the run's folder."""
        self.average.lessons.fill_(self.lessons_before + self.step)
        path = self.options.folder / "weights.safetensors"
        weights.save(path, self.network, self.vocabulary, {"drafting_steps": str(self.step)})
        return path

    def _step(self, batch: DraftBatch, progress: float, chance: torch.Generator) -> dict[str, float]:
        rate = self.options.learning_rate * min(1.0, (self.step + 1) / 200) * min(1.0, (1 - progress) / 0.5)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu"))):
            if self.options.finishing:
                with torch.no_grad():
                    words = self.generator.understood(batch.ids)
                parts = finish_losses(self.generator, batch, words, chance)
            else:
                parts = losses(self.generator, batch, chance)
        total = torch.stack(list(parts.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.generator.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        with torch.no_grad():
            keep = min(0.999, self.step / (self.step + 20))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.generator.parameters()), 1 - keep)
        return {name: float(value.detach()) for name, value in parts.items()}
