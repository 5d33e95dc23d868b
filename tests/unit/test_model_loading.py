"""Batches that processes of their own prepare."""

import torch
from torch.utils.data import IterableDataset

from plantain.operators.models.plantain.training.loading import batches_of


class Zeros(IterableDataset):
    """The same batch for ever, faster than anybody takes it."""

    def __iter__(self):
        while True:
            yield [torch.zeros(200_000), torch.zeros(300_000)]


def test_processes_that_are_left_while_they_send_end_quietly(capfd):
    loaders = [batches_of(Zeros(), 1) for _ in range(5)]
    processes = [process for batches in loaders for process in batches._workers]
    while loaders:
        batches = loaders.pop()
        for _ in range(6):
            assert [each.shape for each in next(batches)] == [(200_000,), (300_000,)]
        del batches  # a process that aborted is raised here, and pytest shows it
    assert [process.exitcode for process in processes] == [0] * 5
    assert capfd.readouterr().err == ""


def test_without_processes_they_are_prepared_in_between():
    assert len(next(batches_of(Zeros(), 0))) == 2
