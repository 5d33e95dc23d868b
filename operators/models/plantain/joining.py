"""Which of the centres that the network sees are one object's.

A large object has more than one hump of heat. Two humps are two objects only if the heat falls between them; taken for
two, four in ten cars and persons on real streets were found as wholes (143 training frames, F1 at half overlap 0.42),
joined by this rule five in ten (0.52), and as many on rendered ones (pmF1 0.35).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators.compiled import compiled

VALLEY = 0.6
"""How far the heat must fall between two centres, in logits; 0.3 to 1.5 were tried."""


def joined(
    odds: NDArray[np.float32], heat: NDArray[np.float32], centres: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The object (n,) of each centre, 0..m-1, and the objects' strongest centres (m, 2).

    Args:
        odds: (h, w), logits of "one of the things that are asked for is here" at half resolution.
        heat: (h, w), logits of "an object's centre is here" at half resolution.
        centres: (n, 2), full-resolution pixels (x, y), the strongest first.
    """
    into = np.arange(len(centres))
    _join(odds, heat, (centres / 2).astype(np.int64), VALLEY, into)
    return into, centres[np.unique(into, return_index=True)[1]]


@compiled()
def _join(
    odds: NDArray[np.float32],
    heat: NDArray[np.float32],
    cells: NDArray[np.int64],
    valley: float,
    into: NDArray[np.int64],
) -> None:
    """Fills `into`, each centre itself before."""
    count = len(cells)
    for k in range(count):
        least = heat[cells[k, 1], cells[k, 0]] - valley
        for j in range(k):
            if into[j] != into[k] and _lowest(odds, heat, cells, k, j) > least:
                first, last = min(into[j], into[k]), max(into[j], into[k])
                for other in range(count):
                    if into[other] == last:
                        into[other] = first
    objects = 0
    for k in range(count):
        if into[k] == k:
            into[k] = objects
            objects += 1
        else:
            into[k] = into[into[k]]


@compiled()
def _lowest(
    odds: NDArray[np.float32], heat: NDArray[np.float32], cells: NDArray[np.int64], k: int, j: int
) -> float:
    """The lowest heat on the straight way between two cells, none where it leads through something else."""
    across, down = cells[j, 0] - cells[k, 0], cells[j, 1] - cells[k, 1]
    steps = max(abs(across), abs(down), 1)
    lowest = np.float32(np.inf)
    for step in range(steps + 1):
        x = cells[k, 0] + int(np.rint(across * step / steps))
        y = cells[k, 1] + int(np.rint(down * step / steps))
        if odds[y, x] <= 0 and 0 < step < steps:
            return -np.inf
        lowest = min(lowest, heat[y, x])
    return float(lowest)
