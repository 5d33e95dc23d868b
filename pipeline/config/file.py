"""Reading a configuration, from a YAML file or from plain data."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from plantain.operators.errors import UsageError
from plantain.operators.redaction import redact
from plantain.pipeline.config.pipeline import PipelineConfig
from plantain.pipeline.config.section import mistakes_of, unfit


def load(path: Path) -> PipelineConfig:
    """The configuration in a YAML file.

    Raises:
        UsageError: With every mistake, one a line, each with its path in the file.
    """
    return check(plain(path), str(path))


class _Loader(yaml.SafeLoader):
    """YAML of plain data, in which nothing is said twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are different; YAML itself takes the last of two."""
        known = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a name is a word", key.start_mark)
            if key.value in known:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is said twice in one section", key.start_mark
                )
            known.add(key.value)
        return super().construct_mapping(node, deep)


def plain(path: Path) -> dict[str, Any]:
    """What a YAML file says, not yet checked.

    Raises:
        UsageError: If it is no YAML mapping.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply for a configuration") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:  # a number of thousands of digits, a 13th month
        raise UsageError(f"{path} holds a value that is none: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path} must hold a mapping with at least 'streams' and 'prompts'")
    return spelled_out(data)


def spelled_out(data: dict[str, Any]) -> dict[str, Any]:
    """Settings that are written short, at length.

    An address is short for a stream, a name for a model, one of a list for the list, and numbers and yes stand for the
    texts that options are.
    """

    def listed(written: Any) -> Any:
        return [written] if isinstance(written, str) else written

    def named(written: Any, name: str) -> Any:
        return {name: written} if isinstance(written, str) else written

    def stream(written: Any) -> Any:
        if not isinstance(written := named(written, "url"), dict):
            return written
        long = {"prompts": listed, "options": _texts}
        return {key: long[key](value) if key in long else value for key, value in written.items()}

    long = dict(data)
    for name in ("streams", "prompts", "analytics"):
        if name in long:
            long[name] = listed(long[name])
    if isinstance(long.get("streams"), list | tuple):
        long["streams"] = [stream(each) for each in long["streams"]]
    if "model" in long:
        long["model"] = named(long["model"], "name")
    if isinstance(long.get("models"), dict):
        long["models"] = {name: named(each, "name") for name, each in long["models"].items()}
    return long


def _texts(options: Any) -> Any:
    """Options of a source, which are texts, where they are written as numbers or as yes and no."""

    def text(value: Any) -> Any:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return str(value) if isinstance(value, int | float) and isfinite(value) else value

    return {name: text(value) for name, value in options.items()} if isinstance(options, dict) else options


def check(
    data: dict[str, Any], origin: str = "configuration", *, may_be_idle: bool = False
) -> PipelineConfig:
    """The configuration in plain data.

    Args:
        data: As YAML gives it.
        origin: Where it is from, for the message.
        may_be_idle: Whether it may be without streams, as a service that gets them later may.

    Raises:
        UsageError: With every mistake, one a line, each with its path.
    """
    lines = [*unfit(data)]
    try:
        checked = PipelineConfig.model_validate(spelled_out(data), context={"may_be_idle": may_be_idle})
        if not lines:
            return checked
    except ValidationError as error:
        lines += [line for line in mistakes_of(error, PipelineConfig) if line not in lines]
    raise UsageError(f"{origin} has {len(lines)} mistake(s):\n" + "\n".join(map(redact, lines)))
