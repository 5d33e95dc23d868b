"""Training: rendered scenes in, weights out, within a budget of time.

rendering process --shards/*.npz---+--> Stream (worker process) --TrainingBatch--> Trainer --> last.pt, weights
answers of others --lessons/*.npz--+
real pictures -----streets/img/*---+
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import torch
from torch import distributed

from plantain.operators.models.plantain import weights
from plantain.operators.models.plantain.memory import keep_freed_memory
from plantain.operators.models.plantain.network import Guide, Network
from plantain.operators.models.plantain.text import Vocabulary
from plantain.operators.models.plantain.training import losses, questions, shards
from plantain.operators.models.plantain.training.loading import Part, batches_of, write_checkpoint
from plantain.operators.models.plantain.training.samples import TrainingBatch
from plantain.operators.models.plantain.training.stream import Stream
from plantain.operators.vocabulary import CLASSES

log = structlog.get_logger(__name__)

FOLLOW_STEPS = 5
"""Steps between updates of the running average; one costs as much as the optimiser's step."""

FINE_TUNE_RATE = 2e-4
"""Highest rate of learning from given weights: low enough that what they know stays."""

STREET_RATE = 4e-4
"""The same where real pictures are learnt beside rendered ones; 1.2e-3 was worse (2026-11-29)."""

WARM_STEPS, FINE_TUNE_WARM_STEPS = 150, 20
"""Steps until the highest rate."""

CANVASES = ((0.45, (160, 288)), (1.0, (224, 384)))


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What a run is told.

    Attributes:
        folder: Checkpoints, the exported weights and, where processes meet, a file for that.
        shards: Rendered training scenes, None to do without.
        heldout_shards: Rendered scenes of the other split, for validation; None for no validation.
        minutes: Budget; the learning rate falls to zero at its end.
        steps: End after so many, where that comes first; None for no such end.
        canvases: (share of the budget, size) pairs: each size is used until that share is spent. Small ones
            come first, because most of what there is to learn is learnt there at a third of the cost.
        batch_size: Samples per step.
        learning_rate: At its highest.
        seed: Of initial weights and of the data's order.
        processes: How many train side by side on equal weights, their gradients averaged at every step.
            Several with one thread each keep going where other programs use the same cores; the threads of
            one process wait for one another at each of some thousand operators per step instead (measured
            2026-11-21 on two busy cores: 4 to 20 s a step with two threads, 0.8 s with one).
        threads: Of each process.
        loaders: Processes that prepare batches for each training process; 0 to do it in between.
        render: Also start a rendering process, which keeps adding scenes.
        assets: Meshes for the rendering process.
        words: Further phrases whose words enter the vocabulary.
        lessons: Frames that a teacher annotated; None for none.
        lesson_share: Of the samples; the others are rendered scenes, so that nothing else is forgotten.
        streets: Real pictures that are labelled in part (`streets`); None for none.
        street_share: Of the samples.
        init: Weights to begin with. Their normalisation stays as it is, because the few cameras of a lesson
            say little about all others.
    """

    folder: Path
    shards: Path | None
    heldout_shards: Path | None = None
    minutes: float = 60.0
    steps: int | None = None
    canvases: tuple[tuple[float, tuple[int, int]], ...] = CANVASES
    batch_size: int = 12
    learning_rate: float = 8e-4
    seed: int = 0
    processes: int = 2
    threads: int = 1
    loaders: int = 1
    render: bool = False
    assets: Path | None = None
    words: tuple[str, ...] = ()
    lessons: Path | None = None
    lesson_share: float = 0.5
    streets: Path | None = None
    street_share: float = 0.5
    init: Path | None = None


def train(options: TrainOptions) -> Path:
    """Trains, or goes on from the folder's last checkpoint, until the budget is spent.

    Returns:
        The exported weights (safetensors) of the averaged network.
    """
    options.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if options.render and options.shards is not None:
            stack.enter_context(shards.rendering(options.shards, options.assets))
        return _side_by_side(options)


def _side_by_side(options: TrainOptions) -> Path:
    """Trains in as many processes as there are to be."""
    meeting = options.folder / f"meeting-{time.time_ns()}"
    context = torch.multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_run, args=(options, rank, meeting), name=f"train-{rank}")
        for rank in range(1, options.processes)
    ]
    for each in others:
        each.start()
    try:
        path = _run(options, 0, meeting)
        for each in others:
            each.join(timeout=60)
        return path
    finally:
        for each in others:
            each.kill()
        meeting.unlink(missing_ok=True)


def _run(options: TrainOptions, rank: int, meeting: Path) -> Path:
    """One of the processes that train; the first one keeps the books."""
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    if options.processes > 1:
        store = torch.distributed.FileStore(str(meeting), options.processes)  # type: ignore[attr-defined]
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=options.processes)
    try:
        trainer = Trainer(options, rank)
        trainer.run()
        return trainer.export() if rank == 0 else options.folder
    finally:
        if options.processes > 1:
            distributed.destroy_process_group()


class Trainer:
    """One run: network, its running average, optimiser, and where it stands."""

    def __init__(self, options: TrainOptions, rank: int = 0) -> None:
        self.options, self.rank = options, rank
        self.elapsed_s = 0.0
        self.step = 0
        self.vocabulary = Vocabulary.of((*questions.all_words(), *options.words))
        self.checkpoint = options.folder / "last.pt"
        held = torch.load(self.checkpoint, weights_only=True) if self.checkpoint.exists() else None
        given = None
        if held is not None:
            self.vocabulary = Vocabulary(tuple(held["words"]))
        elif options.init is not None:
            given, self.vocabulary = weights.extended(*weights.load(options.init), options.words)
        self.network = _network(self.vocabulary)
        if given is not None:
            self.network.load_state_dict(given.state_dict())
        self.average = _network(self.vocabulary)
        self.average.load_state_dict(self.network.state_dict())
        self.average.requires_grad_(False)
        self.guide = Guide(len(CLASSES))
        self.trained = [*self.network.parameters(), *self.guide.parameters()]
        decayed = [each for each in self.trained if each.dim() > 1]
        plain = [each for each in self.trained if each.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}],
            lr=options.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        if held is not None:
            self.network.load_state_dict(held["network"])
            self.average.load_state_dict(held["average"])
            if "guide" in held:
                self.guide.load_state_dict(held["guide"])
                self.optimiser.load_state_dict(held["optimiser"])
            self.step, self.elapsed_s = held["step"], held["elapsed_s"]
        self.first_step = self.step
        self.class_weights = losses.class_weights()
        # The guide of given weights was not kept, and a new one would pull at features that are in order.
        self.loss_weights = losses.WEIGHTS if options.init is None else losses.WEIGHTS | {"guide": 0.0}

    def run(self) -> None:
        """Steps until the budget is spent; checkpoints every three minutes, validates every ten."""
        options = self.options
        if self.rank == 0:
            log.info(
                "training", **{name: str(value) for name, value in asdict(options).items()}, step=self.step
            )
        sums: dict[str, float] = {}
        batches: Iterator[TrainingBatch] | None = None
        size_hw: tuple[int, int] | None = None
        saved_s = validated_s = self.elapsed_s
        last = time.perf_counter()
        while (progress := self._progress()) < 1:
            wanted_hw = next(size for share, size in options.canvases if progress < share)
            if batches is None or wanted_hw != size_hw:
                size_hw = wanted_hw
                batches = self._batches(size_hw)
            now = time.perf_counter()
            self.elapsed_s, last = self.elapsed_s + now - last, now
            parts = self._step(next(batches), progress)
            if self.rank > 0:
                continue
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value
            if self.step % 50 == 0:
                self._report(sums)
                sums = {}
            if self.elapsed_s - saved_s > 180:
                saved_s = self.elapsed_s
                self.save()
            if options.heldout_shards is not None and self.elapsed_s - validated_s > 600:
                validated_s = self.elapsed_s
                self.validate(options.heldout_shards)
        if self.rank == 0:
            self.save()

    def _progress(self) -> float:
        """Share of the budget that is spent."""
        spent = self.elapsed_s / (self.options.minutes * 60)
        return spent if self.options.steps is None else max(spent, self.step / self.options.steps)

    def validate(self, folder: Path, num_batches: int = 4) -> dict[str, float]:
        """Mean losses of the averaged network on held-out scenes, undisturbed by training."""
        stream = iter(Stream(folder, self.vocabulary, 8, self.options.canvases[-1][1], seed=99))
        sums: dict[str, float] = {}
        self.average.eval()
        with torch.inference_mode():
            for _ in range(num_batches):
                for name, value in losses.terms(
                    self.average, next(stream), self.class_weights, self.guide
                ).items():
                    sums[name] = sums.get(name, 0.0) + float(value) / num_batches
        log.info("heldout", step=self.step, **{name: round(value, 4) for name, value in sums.items()})
        return sums

    def save(self) -> None:
        """Writes the checkpoint; a reader sees the old one or the new one."""
        parts: dict[str, Part] = {
            "network": self.network, "average": self.average, "guide": self.guide, "optimiser": self.optimiser,
        }  # fmt: skip
        words = list(self.vocabulary.words)
        write_checkpoint(self.checkpoint, parts, step=self.step, elapsed_s=self.elapsed_s, words=words)

    def export(self) -> Path:
        """The averaged network as a weights file in the run's folder."""
        path = self.options.folder / "weights.safetensors"
        weights.save(path, self.average, self.vocabulary, {"steps": str(self.step)})
        return path

    def _step(self, batch: TrainingBatch, progress: float) -> dict[str, float]:
        warm = WARM_STEPS if self.options.init is None else FINE_TUNE_WARM_STEPS
        rate = self.options.learning_rate * _schedule(self.step - self.first_step, warm, progress)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        if self.options.init is not None:
            for module in self.network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
        parts = losses.terms(self.network, batch, self.class_weights, self.guide)
        total = torch.stack([self.loss_weights[name] * value for name, value in parts.items()]).sum()
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if self.options.processes > 1:
            self.elapsed_s = agree(self.trained, self.elapsed_s, self.rank)
        norm = torch.nn.utils.clip_grad_norm_(self.trained, 2.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        if self.rank == 0 and self.step % FOLLOW_STEPS == 0:
            self._follow(min(0.998, self.step / (self.step + 20)) ** FOLLOW_STEPS)
        return {name: float(value.detach()) for name, value in parts.items()} | {
            "total": float(total.detach()),
            "grad": float(norm),
        }

    @torch.no_grad()
    def _follow(self, keep: float) -> None:
        """Moves the average towards the network."""
        mean = [each for each in self.average.state_dict().values() if each.is_floating_point()]
        now = [each for each in self.network.state_dict().values() if each.is_floating_point()]
        torch._foreach_lerp_(mean, now, 1 - keep)

    def _batches(self, size_hw: tuple[int, int]) -> Iterator[TrainingBatch]:
        options = self.options
        stream = Stream(
            options.shards,
            self.vocabulary,
            options.batch_size,
            size_hw,
            seed=options.seed * 1000 + self.step + self.rank * 7919,
            lessons=options.lessons,
            lesson_share=options.lesson_share,
            streets=options.streets,
            street_share=options.street_share,
        )
        return batches_of(stream, options.loaders)

    def _report(self, sums: dict[str, float]) -> None:
        rate = self.optimiser.param_groups[0]["lr"]
        means = {name: round(value / 50, 4) for name, value in sums.items()}
        log.info("step", step=self.step, minutes=round(self.elapsed_s / 60, 1), rate=f"{rate:.2e}", **means)


def agree(trained: Sequence[torch.nn.Parameter], elapsed_s: float, rank: int) -> float:
    """Averages the gradients of all processes; one whose samples say nothing of a parameter counts as zero there.

    Args:
        trained: The parameters, in the same order everywhere.
        elapsed_s: This process's clock, seconds.
        rank: Its number.

    Returns:
        The first one's clock.
    """
    is_taught = torch.tensor([each.grad is not None for each in trained], dtype=torch.uint8)
    distributed.all_reduce(is_taught, distributed.ReduceOp.MAX)
    grads = []
    for each, taught in zip(trained, is_taught.tolist(), strict=True):
        if taught:
            each.grad = torch.zeros_like(each) if each.grad is None else each.grad
            grads.append(each.grad)
    clock = torch.tensor([elapsed_s if rank == 0 else 0.0])
    flat = torch.cat([*(each.flatten() for each in grads), clock])
    distributed.all_reduce(flat)
    mean = torch.split(flat[:-1] / distributed.get_world_size(), [each.numel() for each in grads])
    for grad, part in zip(grads, mean, strict=True):
        grad.copy_(part.view_as(grad))
    return float(flat[-1])


def _network(vocabulary: Vocabulary) -> Network:
    network = Network(vocabulary.num_ids)
    network.to(memory_format=torch.channels_last)
    return network


def _schedule(step: int, warm_steps: int, progress: float) -> float:
    """Share of the highest rate: up from every start, flat, down to zero over the last 60 %."""
    warm = min(1.0, (step + 1) / warm_steps)
    fall = min(1.0, (1 - progress) / 0.6)
    return warm * max(0.002, fall)
