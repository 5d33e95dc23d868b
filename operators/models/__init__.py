"""Backends: who answers. Each is named here and imported inside the worker that runs it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from plantain.operators import naming
from plantain.operators.arguments import check_arguments, refusal
from plantain.operators.errors import ModelUnavailableError, UsageError
from plantain.operators.models.base import Answering, Described, ModelBackend, ModelSpec, Tailored, Weights
from plantain.operators.models.catalogue import LIBRARY
from plantain.operators.models.hosted.catalogue import HOSTED
from plantain.operators.models.plantain import HANDFUL
from plantain.operators.models.together.catalogue import TOGETHER
from plantain.operators.prompts import Task

_PERCEPTION = (Task.SEMANTIC, Task.INSTANCES, Task.REFER, Task.DEPTH, Task.NORMALS)

_NONE = Weights(commercial=True, shown="no weights")

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
        takes_lens=True,
        weights=Weights(commercial=True, parameters_m=7.9, shown="real weights"),
    ),
    "fake": ModelSpec(
        target="plantain.operators.models.fake:FakeModel",
        summary="draws the exact answers of stamped synthetic scenes; for tests and for trying things out",
        tasks=(*_PERCEPTION, Task.DETECT, Task.ASK),
        licence="Apache-2.0",
        model_hw=(224, 384),
        weights=_NONE,
    ),
    "fake-video": ModelSpec(
        target="plantain.operators.models.fake_video:FakeVideoModel",
        summary="as fake, and counts the frames of each stream's session; for tests of models that keep something",
        tasks=(*_PERCEPTION, Task.DETECT, Task.ASK),
        licence="Apache-2.0",
        model_hw=(224, 384),
        keeps_streams=True,
        weights=_NONE,
    ),
    **LIBRARY,
    **HOSTED,
    **TOGETHER,
}
"""Name of each backend, and what can be said about it without loading it."""


def load_model(name: str, options: Mapping[str, Any] | None = None) -> Answering:
    """The backend called `name`, or the class that `module:Class` names, ready to answer.

    Args:
        name: A key of `BACKENDS`, or a dotted path; a class that draws is made one that answers.
        options: Keyword arguments for the class.

    Raises:
        UsageError: If there is no such backend, or it does not take the options.
        ModelUnavailableError: If it cannot run on this machine.
    """
    made = _make(name, options)
    if isinstance(made, Answering):
        return made
    from plantain.operators.models.drawn import (
        Drawn,  # what decodes drawings: not needed to list the backends
    )

    spec = spec_of(name)
    return Drawn(_drawing(name, made), is_paid=spec.is_paid, drifts=spec.drifts)


def load_drawing(name: str, options: Mapping[str, Any] | None = None) -> ModelBackend:
    """Like `load_model`, for whoever needs the drawings themselves.

    Raises:
        UsageError: If there is no such backend, it does not draw, or does not take the options.
        ModelUnavailableError: If it cannot run on this machine.
    """
    return _drawing(name, _make(name, options))


def spec_of(name: str, options: Mapping[str, Any] | None = None) -> ModelSpec:
    """What can be said about a backend without loading it; of a user's class what it says itself, or the defaults.

    Args:
        name: As of `load_model`.
        options: Those that it will be made with; None for what is true whatever they are.

    Raises:
        UsageError: If there is no such backend, or one that looks at its options beforehand does not take them.
    """
    if name in BACKENDS and (options is None or not BACKENDS[name].by_options):
        spec = BACKENDS[name]
        return replace(spec, needs_lens=False) if options and options.get("assume_hfov") else spec
    made = _class_of(name)
    if isinstance(made, Tailored) and options is not None:
        try:
            return made.spec_for(options)
        except TypeError as error:
            raise UsageError(f"model '{name}' does not take these options: {refusal(error)}") from error
    return made.spec if isinstance(made, Described) else ModelSpec()


def check_model(name: str, options: Mapping[str, Any]) -> None:
    """Finds what making a backend would find wrong with its options, as far as its source tells, without loading it.

    Args:
        name: As of `load_model`; there being none is for others to find out.
        options: Those that it will be made with.

    Raises:
        UsageError: If it does not take them.
    """
    spec = BACKENDS.get(name, ModelSpec(target=name))
    if not spec.by_options:
        check_arguments("model", name, spec.target, options, spec.preset)


def whole_of(spec: ModelSpec) -> ModelSpec:
    """What a backend and its members ask of a machine together; the rest is its own."""
    all_of_them = [spec, *(BACKENDS[name] for name in spec.members)]
    weights = [each.weights for each in all_of_them]
    return replace(
        spec,
        needs=tuple(dict.fromkeys(module for each in all_of_them for module in each.needs)),
        extra=next((each.extra for each in all_of_them if each.extra), ""),
        apart={module: package for each in all_of_them for module, package in each.apart.items()},
        weights=replace(
            spec.weights,
            parameters_m=sum(each.parameters_m for each in weights),
            needs_gpu=any(each.needs_gpu for each in weights),
            bytes_each=max(each.bytes_each for each in weights),
        ),
    )


def missing_modules(spec: ModelSpec) -> list[str]:
    """What a backend needs and this machine lacks."""
    return [module for module in spec.needs if importlib.util.find_spec(module) is None]


def how_to_install(spec: ModelSpec) -> str:
    """What brings the modules that a backend needs and this machine lacks."""
    missing = missing_modules(spec)
    rest = [module for module in missing if module not in spec.apart]
    lines = []
    if rest:
        lines.append(f"pip install '.[{spec.extra}]'" if spec.extra else f"pip install {' '.join(rest)}")
    if len(rest) < len(missing):
        lines.append(f"pip install --no-deps {' '.join(spec.apart.values())}")
    return " && ".join(lines)


def _make(name: str, options: Mapping[str, Any] | None) -> object:
    spec = BACKENDS.get(name)
    if spec is not None and (missing := missing_modules(spec)):
        raise ModelUnavailableError(f"model '{name}' needs {', '.join(missing)}: {how_to_install(spec)}")
    check_model(name, options or {})
    made = _class_of(name)
    try:
        return made(**{**(spec.preset if spec is not None else {}), **(options or {})})
    except TypeError as error:
        raise UsageError(f"model '{name}' does not take these options: {refusal(error)}") from error


def _drawing(name: str, made: object) -> ModelBackend:
    if not isinstance(made, ModelBackend):
        raise UsageError(f"model '{name}' does not draw: it needs name, fingerprint, render and close")
    return made


def _class_of(name: str) -> Callable[..., object]:
    target = BACKENDS[name].target if name in BACKENDS else name
    return naming.class_of("model", name, target, BACKENDS)
