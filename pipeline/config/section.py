"""A section of the file, and what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

# Bytes of file names that are no UTF-8 are none of them (U+DC80 to U+DCFF).
_UNFIT = re.compile("[\\0\ud800-\udc7f\udd00-\udfff]")


class Section(BaseModel):
    """Settings that belong together; an unknown one is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def mistakes_of(error: ValidationError, section: type[Section]) -> list[str]:
    """What is wrong with a section, one line for each mistake, with its path."""
    lines = []
    for mistake in error.errors():
        where = ".".join(str(part) for part in mistake["loc"]) or "(top)"
        message = mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] == "extra_forbidden":
            message = f"unknown setting; known here: {', '.join(_known(mistake['loc'][:-1], section))}"
        elif mistake["type"] == "string_unicode":
            message = "is not UTF-8"
        elif mistake["type"] == "missing":
            message = "is required"
        elif mistake["type"] in ("tuple_type", "list_type"):
            message = "must be a list"
        elif mistake["type"] in ("model_type", "dict_type"):
            message = "must hold settings, as name: value"
        lines.append(f"{where}: {message}")
    return lines


def unfit(data: object, where: tuple[str, ...] = (), seen: set[int] | None = None) -> Iterator[str]:
    """What no setting can be, wherever it is, one line for each: texts that no file or message can hold, NaN.

    What is referred to from several places, or from within itself, is looked at once.
    """
    seen = set() if seen is None else seen
    if isinstance(data, dict | list | tuple) and id(data) not in seen:
        seen.add(id(data))
        for name, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from unfit(value, (*where, str(name)), seen)
    elif isinstance(data, float) and not isfinite(data):
        yield f"{'.'.join(where)}: Input should be a finite number"
    elif isinstance(data, str) and _UNFIT.search(data):
        yield f"{'.'.join(where)}: holds a character that no file and no message can"


def _known(where: tuple[int | str, ...], section: Any) -> list[str]:
    """Names of the settings at a place in a section."""
    for part in where:
        if part not in getattr(section, "model_fields", {}):  # a place in a list, or a key of a mapping
            continue
        annotation = section.model_fields[part].annotation
        inner = [a for a in getattr(annotation, "__args__", (annotation,)) if isinstance(a, type)]
        section = next((a for a in inner if issubclass(a, BaseModel)), section)
    return sorted(section.model_fields)
