"""What trainings share: batches from processes of their own, and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset

BatchT = TypeVar("BatchT")

Part = nn.Module | Optimizer
"""What has a state."""

READY = 4
"""Batches that each process keeps waiting."""


def batches_of(dataset: IterableDataset[BatchT], num_loaders: int) -> Iterator[BatchT]:
    """What a dataset without end yields, prepared by `num_loaders` processes, or in between if that is 0.

    The processes end with the iterator. They come from a fork server, because those leave at once: a spawned one
    first tears its interpreter down, and where its sending thread is then inside of torch, it aborts ("terminate
    called without an active exception", 7 of 40 loaders that were left early, none with a fork server; measured
    2026-11-22, torch 2.15).
    """
    loader: DataLoader[BatchT] = DataLoader(
        dataset,
        batch_size=None,
        num_workers=num_loaders,
        prefetch_factor=READY if num_loaders else None,
        multiprocessing_context="forkserver" if num_loaders else None,
        worker_init_fn=_one_thread,
    )
    return iter(loader)


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)


def write_checkpoint(path: Path, parts: Mapping[str, Part], **known: Any) -> None:
    """Writes where a training stands; a reader sees the old file or the new one.

    Args:
        path: Where.
        parts: Whose states are kept, by name.
        known: What else is kept.
    """
    waiting = path.with_suffix(".tmp")
    torch.save({name: part.state_dict() for name, part in parts.items()} | known, waiting)
    waiting.replace(path)
