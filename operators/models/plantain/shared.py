"""Weights in memory: once in a process, for all copies of the model that compute with them in the same way."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

import torch

from plantain.operators.models.plantain import weights
from plantain.operators.models.plantain.lens import Lenses
from plantain.operators.models.plantain.network import Network
from plantain.operators.models.plantain.sight import Sight
from plantain.operators.models.plantain.text import Vocabulary


@dataclass(frozen=True, eq=False)
class Shared:
    """What copies of the model have in common; it goes when the last of them does.

    Attributes:
        digest: Of the weights file.
        network: Folded, on its device and in its precision.
        vocabulary: Words that it knows.
        sight: What encodes and decodes on the CPU; None on a GPU.
        lenses: What the cameras of streams are taken for: each copy sees only some frames of a stream, and its depth
            must not jump from one copy to the other.
    """

    digest: str
    network: Network
    vocabulary: Vocabulary
    sight: Sight | None
    lenses: Lenses = field(default_factory=Lenses)


_Key = tuple[str, str, torch.dtype, int]
_held: WeakValueDictionary[_Key, Shared] = WeakValueDictionary()
_lock = threading.Lock()


def shared(path: Path, device: torch.device, dtype: torch.dtype, threads: int) -> Shared:
    """The weights of a file; read only if nobody in this process holds them.

    Args:
        path: The file.
        device: Where to compute.
        dtype: In what.
        threads: Of the CPU, if it is that.

    Raises:
        OSError, ValueError: If the file cannot be read, or is another program's.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    key = (digest, str(device), dtype, threads)
    with _lock:
        found = _held.get(key)
        if found is None:
            network, vocabulary = weights.load(path)
            weights.fold(network)
            network.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            sight = Sight(network, threads) if device.type == "cpu" else None
            found = _held[key] = Shared(digest, network, vocabulary, sight)
        return found
