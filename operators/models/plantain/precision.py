"""What a device computes in."""

from __future__ import annotations

import torch

from plantain.operators.errors import ModelUnavailableError


def has_bfloat16(device: torch.device) -> bool:
    """Whether it multiplies in bfloat16 itself.

    Elsewhere torch imitates it: a training step took over 5 s instead of 2 on an EPYC that has AVX2 alone (2026-11-29).
    """
    if device.type == "cuda":
        return True
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """What to compute in.

    Raises:
        ModelUnavailableError: If `name` is none of the two.
    """
    if name:
        found = {"bfloat16": torch.bfloat16, "float32": torch.float32}.get(name)
        if found is None:
            raise ModelUnavailableError(f"dtype '{name}' is unknown: use bfloat16 or float32")
        return found
    return torch.bfloat16 if has_bfloat16(device) else torch.float32
