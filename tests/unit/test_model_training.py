"""Processes that train side by side on equal weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import distributed, multiprocessing

from plantain.operators.models.plantain.training.train import agree

COUNT = 2
# Of three parameters in each process: its gradients, None where its samples say nothing of one.
GRADS: list[list[float | None]] = [[2.0, None, None], [4.0, 6.0, None]]


def _teach(rank: int, folder: str) -> None:
    store = distributed.FileStore(f"{folder}/meeting", COUNT)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=COUNT)
    trained = [torch.nn.Parameter(torch.zeros(2, 3)) for _ in GRADS[rank]]
    for each, grad in zip(trained, GRADS[rank], strict=True):
        each.grad = None if grad is None else torch.full((2, 3), grad)
    clock_s = agree(trained, 10.0 + rank, rank)
    torch.save((clock_s, [each.grad for each in trained]), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_gradients_are_averaged_also_of_what_only_some_samples_say_something_of(tmp_path: Path) -> None:
    multiprocessing.spawn(_teach, (str(tmp_path),), nprocs=COUNT)
    for rank in range(COUNT):
        clock_s, (both, one, none) = torch.load(tmp_path / f"{rank}.pt")
        assert clock_s == 10.0
        assert torch.equal(both, torch.full((2, 3), 3.0))
        assert torch.equal(one, torch.full((2, 3), 3.0))
        assert none is None, "what nobody teaches stays as it is"
