"""The weights file: safetensors in half precision, with the vocabulary in its header."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as serialised
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from plantain.operators.models.plantain.network import Network
from plantain.operators.models.plantain.text import Vocabulary

FORMAT = "plantain-embedded-1"

_LATER = ("decoder.to_lens.weight", "decoder.to_lens.bias", "calibration")
"""Weights that older files of the same form lack."""


def save(path: Path, network: Network, vocabulary: Vocabulary, notes: dict[str, str]) -> None:
    """Writes a network as float16 with its vocabulary; `notes` are free text for a reader of the header."""
    tensors = {
        name: (each.to(torch.float16) if each.is_floating_point() else each).contiguous()
        for name, each in network.state_dict().items()
    }
    waiting = path.with_suffix(".tmp")
    # Not save_file: it gives the file to its owner alone, and services run as somebody else.
    waiting.write_bytes(
        serialised(tensors, {"format": FORMAT, "words": json.dumps(vocabulary.words), **notes})
    )
    waiting.replace(path)


def notes(path: Path) -> dict[str, str]:
    """The notes that a file was saved with."""
    with safe_open(path, framework="pt") as held:
        header = held.metadata() or {}
    return {name: said for name, said in header.items() if name not in ("format", "words")}


def load(path: Path) -> tuple[Network, Vocabulary]:
    """The network, in float32 and evaluation mode, and its vocabulary.

    Raises:
        ValueError: If the file is another program's.
    """
    with safe_open(path, framework="pt") as held:
        header = held.metadata() or {}
        if header.get("format") != FORMAT:
            raise ValueError(f"{path.name} is no weights file of the form {FORMAT}")
        vocabulary = Vocabulary(tuple(json.loads(header["words"])))
        tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118  (no iterator)
    network = Network(vocabulary.num_ids)
    held_by = {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}
    # Files of before: a lens of which nothing is known is the canonical one, a score itself.
    for name in _LATER:
        held_by.setdefault(name, network.state_dict()[name])
    network.load_state_dict(held_by)
    return network.eval(), vocabulary


def extended(network: Network, vocabulary: Vocabulary, phrases: Sequence[str]) -> tuple[Network, Vocabulary]:
    """A network that also knows the words of `phrases`; each begins as what it was taken for before."""
    wider, sources = vocabulary.with_words(phrases)
    if wider is vocabulary:
        return network, vocabulary
    grown = Network(wider.num_ids)
    held = network.state_dict()
    for name in ("phrases.words.weight", "generator.words.weight"):
        held[name] = torch.cat([held[name], held[name][sources]])
    grown.load_state_dict(held)
    return grown.eval(), wider


def fold(network: Network) -> None:
    """Multiplies every batch normalisation into the convolution before it, in place; for inference only."""
    for module in list(network.modules()):
        names = list(module._modules)
        pairs = [("first", "first_norm"), ("second", "second_norm"), *itertools.pairwise(names)]
        for conv_name, norm_name in pairs:
            conv, norm = module._modules.get(conv_name), module._modules.get(norm_name)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
