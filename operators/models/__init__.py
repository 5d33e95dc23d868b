"""Backends: who draws. Each is named here and imported inside the worker that runs it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any, cast

from plantain.operators.errors import ModelUnavailableError, UsageError
from plantain.operators.models.base import ModelBackend, ModelSpec
from plantain.operators.models.plantain import HANDFUL
from plantain.operators.prompts import Task

_PERCEPTION = (Task.SEMANTIC, Task.INSTANCES, Task.REFER, Task.DEPTH, Task.NORMALS)

BACKENDS: dict[str, ModelSpec] = {
    "embedded": ModelSpec(
        target="plantain.operators.models.plantain.model:EmbeddedModel",
        summary="our own small generalist, trained from scratch on rendered streets; weights in the package",
        tasks=(*_PERCEPTION, Task.GENERATE),
        licence="Apache-2.0",
        needs=("torch", "safetensors"),
        model_hw=(224, 384),
        handful=HANDFUL,
        warms_up=True,
    ),
    "fake": ModelSpec(
        target="plantain.operators.models.fake:FakeModel",
        summary="draws the exact answers of stamped synthetic scenes; for tests and for trying things out",
        tasks=_PERCEPTION,
        licence="Apache-2.0",
        model_hw=(224, 384),
    ),
}
"""Name of each backend, and what can be said about it without loading it."""


def load_model(name: str, options: Mapping[str, Any] | None = None) -> ModelBackend:
    """The backend called `name`, or the class that `module:Class` names, ready to draw.

    Args:
        name: A key of `BACKENDS`, or a dotted path.
        options: Keyword arguments for the class.

    Raises:
        UsageError: If there is no such backend, or it does not take the options.
        ModelUnavailableError: If it cannot run on this machine.
    """
    spec = BACKENDS.get(name)
    if spec is not None and (missing := missing_modules(spec)):
        raise ModelUnavailableError(
            f"model '{name}' needs {', '.join(missing)}: pip install {' '.join(missing)}"
        )
    made = _class_of(name)
    try:
        return cast(ModelBackend, made(**(options or {})))
    except TypeError as error:
        raise UsageError(f"model '{name}' does not take these options: {error}") from error


def model_hw_of(name: str) -> tuple[int, int]:
    """The canvas, height and width in pixels, that a backend likes best; a class may say it as `model_hw`.

    Raises:
        UsageError: If there is no such backend.
    """
    spec = BACKENDS.get(name)
    if spec is not None:
        return spec.model_hw
    return cast("tuple[int, int]", getattr(_class_of(name), "model_hw", (256, 256)))


def handful_of(name: str) -> int:
    """Frames that a backend draws together on one core, 0 if it takes all cores; a class may say it as `handful`.

    Raises:
        UsageError: If there is no such backend.
    """
    spec = BACKENDS.get(name)
    return spec.handful if spec is not None else int(getattr(_class_of(name), "handful", 0))


def warms_up(name: str) -> bool:
    """Whether a copy of a backend draws something before it counts as there; a class may say it as `warms_up`.

    Raises:
        UsageError: If there is no such backend.
    """
    spec = BACKENDS.get(name)
    return spec.warms_up if spec is not None else bool(getattr(_class_of(name), "warms_up", False))


def keeps_streams(name: str) -> bool:
    """Whether a backend keeps something about each stream; a class may say it as `keeps_streams`.

    Raises:
        UsageError: If there is no such backend.
    """
    spec = BACKENDS.get(name)
    return spec.keeps_streams if spec is not None else bool(getattr(_class_of(name), "keeps_streams", False))


def missing_modules(spec: ModelSpec) -> list[str]:
    """What a backend needs and this machine lacks."""
    return [module for module in spec.needs if importlib.util.find_spec(module) is None]


def _class_of(name: str) -> Any:
    target = BACKENDS[name].target if name in BACKENDS else name
    module, colon, attribute = target.partition(":")
    if not colon:
        raise UsageError(
            f"model '{name}' is unknown: use {', '.join(BACKENDS)}, "
            "or a class of yours as my_pkg.my_module:MyBackend"
        )
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"model '{name}' cannot be imported: {error}") from error
