"""Every setting as a page of Markdown, from the classes that check them: what docs/settings.md ends with.

`python -c 'from plantain.pipeline.config.page import written; print(written(), end="")'` prints it.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from plantain.pipeline.config.pipeline import PipelineConfig
from plantain.pipeline.config.section import Section

# How one of several is written, by what the section that they are in is called.
_KEYS = {"models": "NAME", "cadences": "PROMPT"}
_HEAD = "| setting | meaning | if left out |\n|---|---|---|\n"


@dataclass(frozen=True, slots=True)
class _Place:
    """A setting in the file.

    Attributes:
        path: As the page writes it: `streams[].url`, `models.NAME`.
        field: What is known of it.
        section: What is inside; None for a value.
        inner: How the path of what is inside begins.
    """

    path: str
    field: FieldInfo
    section: type[Section] | None
    inner: str


def written() -> str:
    """The page: a table of the settings at the top, then one for each section.

    A section that stands in several places is written out where it stands highest; the other places name that.
    """
    top = list(_places(PipelineConfig, ""))
    homes: dict[type[Section], str] = {}
    _find_homes(PipelineConfig, homes)
    rows = [row for place in top if not _is_home(place, homes) for row in _rows(place, homes)]
    parts = [_HEAD + "".join(rows)]
    for place in top:
        if place.section is not None and _is_home(place, homes):
            inside = [row for each in _places(place.section, place.inner) for row in _rows(each, homes)]
            parts.append(f"## {place.path}\n\n{place.field.description}\n\n{_HEAD}{''.join(inside)}")
    return "\n".join(parts)


def _places(section: type[Section], prefix: str) -> Iterator[_Place]:
    for name, field in section.model_fields.items():
        inside, is_many, is_named = _inside(field.annotation)
        path = f"{prefix}{name}"
        if is_many and inside is not None:
            path += "[]"
        inner = f"{path}.{_KEYS[name]}." if is_named and inside is not None else f"{path}."
        yield _Place(path, field, inside, inner)


def _inside(annotation: Any) -> tuple[type[Section] | None, bool, bool]:
    """The section that a type holds, and whether it holds several: in a list, or by name."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return None, False, False
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, False, False
    found = next((each for part in parts if (each := _inside(part)[0]) is not None), None)
    return found, origin is tuple, origin is dict


def _find_homes(top: type[Section], homes: dict[type[Section], str]) -> None:
    """Where each section is written out: the place that is the fewest sections deep, and of these the first."""
    level = [(top, "")]
    while level:
        below = []
        for section, prefix in level:
            for place in _places(section, prefix):
                if place.section is not None and place.section not in homes:
                    homes[place.section] = place.path
                    below.append((place.section, place.inner))
        level = below


def _is_home(place: _Place, homes: dict[type[Section], str]) -> bool:
    return place.section is not None and homes[place.section] == place.path


def _rows(place: _Place, homes: dict[type[Section], str]) -> Iterator[str]:
    """A setting, and what is inside it."""
    meaning = str(place.field.description)
    if choices := _choices(place.field.annotation):
        several = typing.get_origin(place.field.annotation) is tuple
        meaning += f" {'Of' if several else 'One of'} {', '.join(f'`{choice}`' for choice in choices)}."
    if place.section is None:
        yield f"| `{place.path}` | {meaning} | {_default(place.field)} |\n"
        return
    home = homes[place.section]
    if home != place.path:
        inside = place.inner.removesuffix(".")
        yield f"| `{inside}` | {meaning} Settings as in `{home}`. | |\n"
        return
    yield f"| `{place.path}` | {meaning} | |\n"
    for each in _places(place.section, place.inner):
        yield from _rows(each, homes)


def _choices(annotation: Any) -> tuple[str, ...]:
    """What a value may be, where that is a list of names."""
    if typing.get_origin(annotation) is Literal:
        return typing.get_args(annotation)
    return next((found for part in typing.get_args(annotation) if (found := _choices(part))), ())


def _default(field: FieldInfo) -> str:
    """What holds if a value is left out, as YAML writes it."""
    default = field.default
    if default is PydanticUndefined:
        return "must be given"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`[{', '.join(map(str, default))}]`" if default else ""
    return "" if default in (None, "", {}) else f"`{default}`"
