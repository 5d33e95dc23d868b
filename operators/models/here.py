"""Whether a backend would run on this machine, said without loading anything."""

from __future__ import annotations

import os
from pathlib import Path

from plantain.operators.models.base import ModelSpec


def obstacles(spec: ModelSpec, missing: list[str]) -> list[str]:
    """What stands in its way here, each in a few words; none if it runs.

    Args:
        spec: Of the backend.
        missing: The modules that it lacks.
    """
    found = [f"lacks {', '.join(missing)}"] if missing else []
    if spec.weights.needs_gpu and not has_gpu():
        found.append("no GPU: minutes a picture")
    wanted_gb, total_gb = memory_gb(spec), machine_gb()
    if wanted_gb > total_gb:
        found.append(f"about {wanted_gb:.0f} GB of memory, and this machine has {total_gb:.0f}")
    return found


def memory_gb(spec: ModelSpec) -> float:
    """About how much memory one copy takes, GB."""
    return spec.weights.parameters_m * spec.weights.bytes_each / 1e3


def machine_gb() -> float:
    """Memory of this machine, GB."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def has_gpu() -> bool:
    """Whether NVIDIA's driver shows a GPU."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


class Cuda:
    """The GPU that a model would take, as torch sees it, which is loaded where there is one."""

    def memory_gb(self) -> tuple[float, float] | None:
        """What is free and what there is, GB; None where there is none that torch can use."""
        if not has_gpu():
            return None
        import torch

        if not torch.cuda.is_available():
            return None
        free, whole = torch.cuda.mem_get_info()
        return free / 1e9, whole / 1e9
