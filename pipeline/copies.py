"""How many copies of the model a run has, and how much each of them is given at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from plantain.operators.cores import num_cores
from plantain.operators.errors import UsageError
from plantain.operators.models import spec_of
from plantain.pipeline.config import PipelineConfig
from plantain.pipeline.config.model import ModelConfig

# Copies in one process take turns at what Python does between two operators, a tenth of a core each.
MAX_PER_PROCESS = 8
# A batch of a copy that has a GPU, or all cores.
BATCH_ITEMS = 8
# What the driver of NVIDIA's GPUs puts there; asking torch would mean to load it.
GPU_DRIVER = Path("/dev/nvidiactl")


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of the model.

    Attributes:
        least, most: That are always there, and that there may be.
        cpus: Cores for each.
        max_items: Frames that each is given at a time, at most.
        calls_in_flight: Batches that each is given, the one that it draws among them.
    """

    least: int
    most: int
    cpus: float
    max_items: int
    calls_in_flight: int


def copies_of(config: PipelineConfig, model: ModelConfig) -> Copies:
    """The copies of a model in a run.

    A model that can draw a handful of frames on one core gets a copy for each core, if it runs on the CPU of one
    process and nobody said otherwise. None of them waits for another at the end of a batch, and a query waits for the
    first that is free instead of the only one: beside six cameras that saturate two cores it takes 150 instead of
    195 ms at the median, and the cameras get 3 % more (`python -m tests.bench serve`, 2026-11-22). Their batches are
    not given ahead: a query that comes meanwhile is in the next one, and while one copy waits, the others work.

    Raises:
        UsageError: If a hosted model should have several.
    """
    cores = num_cores()
    items, spec = (model.batch or config.batch).max_items, spec_of(model.name, model.options)
    handful = spec.handful
    if model.replicas is None and handful and config.has_threads and _is_on_cpu(model):
        own = model.options.get("threads") or round(model.cpus or cores)
        copies = max(1, min(int(own), MAX_PER_PROCESS))
        return Copies(copies, copies, 1.0, items or handful, 1 if copies > 1 else 2)
    least, most = (1, 1) if model.replicas is None else (model.replicas.min, model.replicas.max)
    if spec.is_hosted and most > 1:
        raise UsageError(
            f"model '{model.name}' has {most} copies: one keeps its budget and its rate; "
            "for more requests side by side raise at_once in its options"
        )
    return Copies(least, most, model.cpus or cores, items or BATCH_ITEMS, 2)


def _is_on_cpu(model: ModelConfig) -> bool:
    """Whether the model draws on the CPU, as far as one can say without loading it."""
    device = str(model.options.get("device", ""))
    return device == "cpu" or not (device or model.gpus or GPU_DRIVER.exists())
