"""What a device computes in."""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether it multiplies in bfloat16 itself.

    Elsewhere torch imitates it: a training step took over 5 s instead of 2 on an EPYC that has AVX2 alone (2026-11-29).
    """
    if device.type == "cuda":
        return True
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
