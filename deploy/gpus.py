"""What the GPUs of this machine do, asked of NVIDIA's driver; nothing where there is none."""

from __future__ import annotations

from functools import cache
from typing import Any

from plantain.pipeline.engine.metrics import GPU_BUSY, GPU_MEMORY, GPU_USED, Sample


@cache
def _driver() -> Any:
    """NVML, ready for use; None without a GPU or without the extra `gpu`."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ImportError:
        return None
    except pynvml.NVMLError:
        return None
    return pynvml


def gpu_samples(driver: Any = None) -> list[Sample]:
    """Use and memory of each GPU.

    Args:
        driver: The module `pynvml`, initialised; found by itself if left out.
    """
    nvml = driver or _driver()
    if nvml is None:
        return []
    samples = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpu = nvml.nvmlDeviceGetHandleByIndex(index)
            memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
            samples += [
                Sample(GPU_USED, (str(index),), float(memory.used)),
                Sample(GPU_MEMORY, (str(index),), float(memory.total)),
            ]
            busy = nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100
            samples.append(Sample(GPU_BUSY, (str(index),), busy))
        except nvml.NVMLError:  # a GPU that is lost, or a slice that does not tell how busy it is
            continue
    return samples
