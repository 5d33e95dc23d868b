"""Which options a backend takes, read from its source: importing it would load what it computes with."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from plantain.operators.errors import UsageError


def check_options(name: str, target: str, options: Mapping[str, Any], preset: Collection[str] = ()) -> None:
    """Finds what making a backend would find wrong with the names of its options.

    Args:
        name: Of the backend, as the user wrote it.
        target: Where it is made, `module:Class`.
        options: As the user wrote them.
        preset: Those that the backend gives its class by itself.

    Raises:
        UsageError: If it does not take one of them, or lacks one.
    """
    known = options_of(target)
    if known is None:
        return
    if unknown := sorted({*options} - known.keys()):
        can = ", ".join(known) or "none"
        raise UsageError(f"model '{name}' has no option {', '.join(unknown)}: it takes {can}")
    needed = {option for option, is_needed in known.items() if is_needed}
    if missing := sorted(needed - {*options} - {*preset}):
        raise UsageError(f"model '{name}' needs the option {', '.join(missing)}")


@cache
def options_of(target: str) -> Mapping[str, bool] | None:
    """The options of a backend, and whether each must be given; None if it takes any, or its source does not tell.

    Args:
        target: `module:Class`, or a function that makes one.
    """
    module, _, name = target.partition(":")
    tree = _tree_of(module)
    made = None if tree is None else _made_in(tree, name)
    if tree is None or made is None:
        return None
    if isinstance(made, ast.FunctionDef):
        return _options_in(made.args, made.args.args)
    for item in made.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _options_in(item.args, item.args.args[1:])
    for base in made.bases:
        named = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(named, ast.Name) and (home := _home_of(tree, named.id, module)) is not None:
            return options_of(f"{home}:{named.id}")
    return None if made.bases or made.decorator_list else {}


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


def _options_in(arguments: ast.arguments, positional: Sequence[ast.arg]) -> Mapping[str, bool] | None:
    if arguments.kwarg is not None:
        return None
    plain = [argument.arg for argument in positional]
    num_needed = len(plain) - len(arguments.defaults)
    options = {name: place < num_needed for place, name in enumerate(plain)}
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        options[argument.arg] = default is None
    return options
