"""Rows of `plantain.operators.models.BACKENDS` for models that work together."""

from __future__ import annotations

from typing import Any

from plantain.operators.models.base import ModelSpec, Weights
from plantain.operators.prompts import Task

_TOGETHER: dict[str, Any] = {
    "tasks": tuple(Task),
    "licence": "of its models",
    "by_options": True,
    "weights": Weights(shown="real weights"),
}

SPECIALISTS: dict[Task, str] = {
    Task.DEPTH: "depth-anything-v2-outdoor",
    Task.NORMALS: "tipsv2",
    Task.SEMANTIC: "sam3",
    Task.INSTANCES: "sam3",
    Task.REFER: "sam3",
    Task.DETECT: "sam3",
}
"""Who answers each task in `specialists`."""

TOGETHER: dict[str, ModelSpec] = {
    "router": ModelSpec(
        target="plantain.operators.models.together.router:Router",
        summary="a backend for each task, or for prompts of a pattern (options routes, rest)",
        **_TOGETHER,
    ),
    "specialists": ModelSpec(
        target="plantain.operators.models.together.specialists:Specialists",
        summary="a ready-made router: SAM 3 for regions and boxes, Depth Anything V2 for depth, TIPSv2 for normals",
        members=tuple(dict.fromkeys(SPECIALISTS.values())),
        **{**_TOGETHER, "weights": Weights()},
    ),
    "gate": ModelSpec(
        target="plantain.operators.models.together.gate:Gate",
        summary="a dear model, asked only where a cheap one sees something (options model, presence)",
        **_TOGETHER,
    ),
    "rewriting": ModelSpec(
        target="plantain.operators.models.together.rewriting:Rewriting",
        summary="a model that speaks turns questions of refer: into descriptions (options model, rewriter)",
        **_TOGETHER,
    ),
    "voting": ModelSpec(
        target="plantain.operators.models.together.voting:Voting",
        summary="a model draws several times in other colours, and most drawings decide (options model, votes)",
        **_TOGETHER,
    ),
}
"""What each can do follows from its options: see `Together.spec_for`."""
