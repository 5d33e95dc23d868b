"""Convolution or matrix product, addition and ReLU in one pass over memory, where torch offers it.

Uses the operators of torch's own compiler for oneDNN. They give the same numbers as the separate steps, and
save between a quarter and a half of the time on two cores (measured 2026-11-21), because at 1/2 and 1/4
resolution reading and writing the maps takes longer than the convolution. Elsewhere (on a processor with AVX2
alone these operators refuse bfloat16, torch 2.15), and in training, the plain operators run.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_POINTWISE = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
_REORDER = getattr(torch.ops.mkldnn, "_reorder_convolution_weight", None)
_LINEAR = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_REORDER_LINEAR = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
_SUPPORTED = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
_IS_OFFERED = _POINTWISE is not None and (_SUPPORTED is None or bool(_SUPPORTED()))
_IDENTITY = nn.Identity()


def applies_to(x: Tensor, layer: nn.Conv2d | nn.Linear, norm: nn.Module = _IDENTITY) -> bool:
    """Whether `conv` or `linear` can be computed at once for `x` and `layer` when `norm` stands behind it."""
    return (
        _IS_OFFERED
        and bool(torch.backends.mkldnn.enabled)
        and x.dtype == layer.weight.dtype == torch.bfloat16  # under autocast the weights are float32
        and x.device.type == "cpu"
        and isinstance(norm, nn.Identity)
        and torch.is_inference_mode_enabled()
    )


def conv(x: Tensor, layer: nn.Conv2d, added: Tensor | None = None, *, is_clipped: bool = True) -> Tensor:
    """The layer's convolution of `x`, plus `added` of the result's shape, through a ReLU if `is_clipped`."""
    assert _POINTWISE is not None
    last = "relu" if is_clipped else None
    shape = (layer.padding, layer.stride, layer.dilation, layer.groups)
    weight = _packed(layer, x)
    if added is None:
        result: Tensor = _POINTWISE(x, weight, layer.bias, *shape, last or "none", [], "")
        return result
    joined: Tensor = _POINTWISE.binary(x, added, weight, layer.bias, *shape, "add", 1.0, last, [], "")
    return joined


def plain(x: Tensor, layer: nn.Conv2d, *, is_clipped: bool = False) -> Tensor:
    """The layer's convolution of `x`, through a ReLU if `is_clipped`, however it is best computed here."""
    if applies_to(x, layer):
        return conv(x, layer, is_clipped=is_clipped)
    result: Tensor = layer(x)
    return result.relu_() if is_clipped else result


def steered(x: Tensor, layer: nn.Conv2d, film: Tensor, added: Tensor | None = None) -> Tensor:
    """ReLU of the layer's convolution of one map, scaled and shifted by `film` (1, 2 C), plus `added`."""
    assert layer.bias is not None
    scale, shift = film[0].chunk(2)
    weight = layer.weight * (1 + scale)[:, None, None, None]
    bias = torch.addcmul(shift, layer.bias, 1 + scale)
    shape = (layer.padding, layer.stride, layer.dilation, layer.groups)
    if applies_to(x, layer):
        assert _POINTWISE is not None
        if added is None:
            result: Tensor = _POINTWISE(x, weight, bias, *shape, "relu", [], "")
            return result
        joined: Tensor = _POINTWISE.binary(x, added, weight, bias, *shape, "add", 1.0, "relu", [], "")
        return joined
    found = nn.functional.conv2d(x, weight, bias, layer.stride, layer.padding)
    return (found if added is None else found.add_(added)).relu_()


def linear(x: Tensor, layer: nn.Linear, added: Tensor | None = None, *, is_clipped: bool = False) -> Tensor:
    """The layer's product with `x`, plus `added` of the result's shape or through a ReLU, as is best here."""
    if _LINEAR is not None and applies_to(x, layer):
        weight = _packed(layer, x)
        if added is not None:
            joined: Tensor = _LINEAR.binary(x, added, weight, layer.bias, "add")
            return joined
        found: Tensor = _LINEAR(x, weight, layer.bias, "relu" if is_clipped else "none", [], "")
        return found
    result: Tensor = layer(x)
    if added is not None:
        return result + added
    return result.relu() if is_clipped else result


def _packed(layer: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """The layer's weights in the order that the processor's matrix unit reads, made once."""
    packed: Tensor | None = layer.__dict__.get("packed")
    if packed is None:
        packed = layer.weight
        if isinstance(layer, nn.Linear):
            if _REORDER_LINEAR is not None:
                packed = _REORDER_LINEAR(layer.weight, None)
        elif _REORDER is not None:
            shape = (layer.padding, layer.stride, layer.dilation, layer.groups)
            packed = _REORDER(layer.weight, *shape, list(x.shape))
        layer.__dict__["packed"] = packed
    return packed
