"""What a name in a configuration stands for: a class of ours, or one of the user's."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from plantain.operators.arguments import refusal
from plantain.operators.errors import UsageError


def class_of(family: str, name: str, target: str, known: Iterable[str]) -> Callable[..., Any]:
    """The class behind a name, imported now.

    Args:
        family: What it is one of, for errors: `sink`, `source`, `model`, `analytic`.
        name: As the user wrote it.
        target: What that stands for, `module:Class`; the name itself where it is none of ours.
        known: Names of ours.

    Raises:
        UsageError: If there is no such class.
    """
    module, colon, attribute = target.partition(":")
    if not colon:
        mine = f"my_pkg.my_module:My{family.title()}"
        raise UsageError(
            f"{family} '{name}' is unknown: use {', '.join(known)}, or a class of yours as {mine}"
        )
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise UsageError(
            f"{family} '{name}' cannot be imported ({error}); is '{module}' on the Python path?"
        ) from error
    except AttributeError as error:
        raise UsageError(f"{family} '{name}': module '{module}' has no '{attribute}'") from error
    return found


def make(family: str, name: str, options: Mapping[str, Any], classes: Mapping[str, str]) -> Any:
    """An object of the class behind a name.

    Args:
        family: As of `class_of`.
        name: A key of `classes`, or a dotted path.
        options: Keyword arguments for the class.
        classes: Where each class of ours is.

    Raises:
        UsageError: If there is no such class, or it does not take the options.
    """
    made = class_of(family, name, classes.get(name, name), classes)
    try:
        return made(**options)
    except TypeError as error:
        raise UsageError(f"{family} '{name}' cannot be made: {refusal(error)}") from error
    except (ImportError, ValueError) as error:
        raise UsageError(f"{family} '{name}' cannot be made: {error}") from error
