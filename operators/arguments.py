"""What a class of ours or of a user's takes, read from its source: importing it would load what it computes with."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from plantain.operators.errors import UsageError

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "float": ((int, float), "a number"),
    "int": ((int,), "a whole number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "a text"),
}
"""Plain annotations: what Python makes of what is written, and how that is said."""

_CALLED = re.compile(r"^[\w.]+\(\) ")


@dataclass(frozen=True, slots=True)
class Argument:
    """What a class says of one of its arguments.

    Attributes:
        is_needed: It must be given.
        kind: A key of `_KINDS`; empty where the annotation is another one.
        choices: All that it can be; empty where that is not known.
    """

    is_needed: bool
    kind: str = ""
    choices: tuple[Any, ...] = ()

    def why_not(self, value: Any) -> str:
        """What a value should be and is not; empty where nothing is known against it."""
        if self.choices:
            return "" if value in self.choices else f"is {' or '.join(map(str, self.choices))}"
        if not self.kind:
            return ""
        types, what = _KINDS[self.kind]
        is_one = isinstance(value, types) and (self.kind == "bool" or not isinstance(value, bool))
        # Words that look like numbers are texts, too: a revision, a name.
        is_one = is_one or (self.kind == "str" and isinstance(value, int | float | Path))
        return "" if is_one else f"is {what}"


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a class says of its arguments.

    Attributes:
        known: Each that it names.
        takes_more: Whether it passes others on.
    """

    known: Mapping[str, Argument]
    takes_more: bool = False


def check_arguments(
    family: str, name: str, target: str, options: Mapping[str, Any], preset: Collection[str] = ()
) -> None:
    """Finds what making an object would find wrong with the options that it is given.

    Args:
        family: What it is one of, for errors: `model`, `analytic`.
        name: As the user wrote it.
        target: Where it is made, `module:Class`.
        options: As the user wrote them.
        preset: Those that it is given without being asked for.

    Raises:
        UsageError: If it does not take one of them, or lacks one.
    """
    taken = arguments_of(target)
    if taken is None:
        return
    known = taken.known
    if not taken.takes_more and (unknown := sorted({*options} - known.keys())):
        can = ", ".join(known) or "none"
        raise UsageError(f"{family} '{name}' has no option {', '.join(unknown)}: it takes {can}")
    needed = {option for option, each in known.items() if each.is_needed}
    if missing := sorted(needed - {*options} - {*preset}):
        raise UsageError(f"{family} '{name}' needs the option {', '.join(missing)}")
    for option, value in options.items():
        if option in known and (why := known[option].why_not(value)):
            raise UsageError(f"{family} '{name}': option {option} {why}, not {value!r}")


@cache
def arguments_of(target: str) -> Arguments | None:
    """What a class takes; None if its source does not tell.

    Args:
        target: `module:Class`, or a function that makes one.
    """
    module, _, name = target.partition(":")
    tree = _tree_of(module)
    made = None if tree is None else _made_in(tree, name)
    if tree is None or made is None:
        return None
    if isinstance(made, ast.FunctionDef):
        return None if made.decorator_list else _arguments_in(made.args, made.args.args)
    for item in made.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _arguments_in(item.args, item.args.args[1:])
    for base in made.bases:
        named = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(named, ast.Name) and (home := _home_of(tree, named.id, module)) is not None:
            return arguments_of(f"{home}:{named.id}")
    return None if made.bases or made.decorator_list else Arguments({})


def _tree_of(module: str) -> ast.Module | None:
    """The source of a module; only the packages that it is in are imported."""
    try:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (ImportError, OSError, SyntaxError, ValueError):
        return None


def _made_in(tree: ast.Module, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    """The class or function of a name."""
    for each in tree.body:
        if isinstance(each, ast.ClassDef | ast.FunctionDef) and each.name == name:
            return each
    return None


def _home_of(tree: ast.Module, name: str, module: str) -> str | None:
    """The module that a name is from."""
    if _made_in(tree, name) is not None:
        return module
    for each in tree.body:
        if isinstance(each, ast.ImportFrom) and any(alias.name == name for alias in each.names):
            return each.module
    return None


def _arguments_in(arguments: ast.arguments, positional: Sequence[ast.arg]) -> Arguments:
    defaults = [None] * (len(positional) - len(arguments.defaults)) + [*arguments.defaults]
    known = {
        argument.arg: _argument(argument, default)
        for argument, default in zip(
            [*positional, *arguments.kwonlyargs], [*defaults, *arguments.kw_defaults], strict=True
        )
    }
    return Arguments(known, takes_more=arguments.kwarg is not None or arguments.vararg is not None)


def _argument(argument: ast.arg, default: ast.expr | None) -> Argument:
    """What annotation and default of an argument say; `x: float = None` may be none."""
    annotation, is_needed = argument.annotation, default is None
    if isinstance(default, ast.Constant) and default.value is None:
        return Argument(is_needed)
    if isinstance(annotation, ast.Name) and annotation.id in _KINDS:
        return Argument(is_needed, annotation.id)
    if (
        isinstance(annotation, ast.Subscript)
        and isinstance(annotation.value, ast.Name)
        and annotation.value.id == "Literal"
    ):
        held = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return Argument(
            is_needed, choices=tuple(each.value for each in held if isinstance(each, ast.Constant))
        )
    return Argument(is_needed)


def refusal(error: TypeError) -> str:
    """What Python says of arguments that do not fit, without the names of our classes."""
    return _CALLED.sub("", str(error))
