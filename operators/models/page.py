"""Every backend as a page of Markdown, from the rows that say what it is: what docs/models.md ends with.

`python -c 'from plantain.operators.models.page import written; print(written(), end="")'` prints it.
"""

from __future__ import annotations

from plantain.operators.models import BACKENDS
from plantain.operators.models.base import ModelSpec, Weights
from plantain.operators.models.catalogue import ABSENT

_HEAD = (
    "| name | what it is | answers | weights | size | licence | commercial use | tested with |\n"
    "|---|---|---|---|---|---|---|---|\n"
)
_ABSENT_HEAD = "| model | no backend, because | use instead |\n|---|---|---|\n"


def written() -> str:
    """A table of the backends, and one of what is none."""
    rows = [_row(name, spec) for name, spec in BACKENDS.items()]
    absent = [f"| {each.name} | {each.why} | {each.instead} |\n" for each in ABSENT]
    return "".join([_HEAD, *rows, "\n", _ABSENT_HEAD, *absent])


def size_of(weights: Weights) -> str:
    """Parameters in a few characters; empty where there are none."""
    millions = weights.parameters_m
    if not millions:
        return "depends" if weights.commercial is None else ""
    return f"{millions / 1e3:.1f} B" if millions >= 1e3 else f"{millions:.3g} M"


def commercial(weights: Weights) -> str:
    """Whether commercial use is allowed."""
    return {True: "yes", False: "no", None: "depends"}[weights.commercial]


def _row(name: str, spec: ModelSpec) -> str:
    source = f"`{spec.weights.source}`" if spec.weights.source else ""
    source += ", gated" if spec.weights.is_gated else ""
    cells = (
        f"`{name}`",
        spec.summary,
        " ".join(map(str, spec.tasks)),
        source,
        size_of(spec.weights),
        spec.licence,
        commercial(spec.weights),
        spec.weights.shown,
    )
    return f"| {' | '.join(cells)} |\n"
