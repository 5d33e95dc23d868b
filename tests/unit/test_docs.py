"""The documents against the code: every setting, command, option and column is there, and what they show runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command

import plantain
from plantain.deploy.cli.app import app
from plantain.deploy.job import run_job
from plantain.operators.answers.base import Column
from plantain.operators.models import BACKENDS
from plantain.operators.models import page as models_page
from plantain.operators.models.catalogue import ABSENT
from plantain.operators.prompts import Task
from plantain.operators.sinks.columns import EVENT_COLUMNS, FRAME_COLUMNS, IDENTITY, OBJECT_COLUMNS, written
from plantain.operators.sources.live.options import LiveOptions
from plantain.pipeline.checking import check_run
from plantain.pipeline.config import PipelineConfig, check, load, page

ROOT = Path(__file__).parents[2]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


MODELS = text_of("docs/models.md")
README, SETTINGS, TABLES = text_of("README.md"), text_of("docs/settings.md"), text_of("docs/tables.md")
CAMERAS, COMMANDS, PROMPTS = (
    text_of("docs/cameras.md"),
    text_of("docs/commands.md"),
    text_of("docs/prompts.md"),
)
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def named_in_table(text: str) -> list[str]:
    """What stands in backquotes in the first column of the tables of a text."""
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a setting holds, however deep in its type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from sections_in(part)


def settings(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every setting in the file, and of every section."""
    for name, field in model.model_fields.items():
        yield (*path, name)
        for section in sections_in(field.annotation):
            yield from settings(section, (*path, name))


def documented() -> set[tuple[str, ...]]:
    """The paths that the page writes out, without names and brackets, and those that it says are as in another."""
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \|", SETTINGS, re.MULTILINE)
    found = {plain_path(path) for path, _ in rows} | {
        plain_path(title) for title in re.findall(r"^## (\S+)$", SETTINGS, re.MULTILINE)
    }
    like = {
        plain_path(path): plain_path(as_in[1])
        for path, meaning in rows
        if (as_in := re.search(r"Settings as in `([^`]+)`", meaning)) is not None
    }
    while (
        more := {
            (*place, *path[len(home) :])
            for place, home in like.items()
            for path in found
            if path[: len(home)] == home
        }
        - found
    ):
        found |= more
    return found


def plain_path(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.replace("[]", "").split(".") if not part.isupper())


@pytest.mark.parametrize("setting", sorted(set(settings(PipelineConfig))), ids=".".join)
def test_every_setting_is_on_its_page(setting: tuple[str, ...]) -> None:
    assert setting in documented()


def test_the_page_names_no_setting_that_does_not_exist() -> None:
    assert documented() == set(settings(PipelineConfig))


def test_what_is_installed_apart_is_in_the_makefile_and_in_the_page_of_models() -> None:
    makefile = " ".join(text_of("Makefile").replace("\\\n", " ").split())
    for spec in BACKENDS.values():
        packages = " ".join(spec.apart.values())
        assert packages in makefile
        assert not packages or f"\npip install --no-deps {packages}\n" in MODELS


def test_the_settings_are_written_from_the_code() -> None:
    assert SETTINGS.partition("<!-- written -->\n\n")[2] == page.written()


def test_the_page_of_models_ends_with_what_their_rows_say() -> None:
    assert MODELS.partition("<!-- written -->\n\n")[2] == models_page.written()


def test_what_is_to_be_used_instead_of_a_model_may_be_used() -> None:
    for absent in ABSENT:
        name = absent.instead.partition(",")[0]
        assert BACKENDS[name].weights.commercial is not False, absent.name


def test_the_models_of_the_settings_page_are_a_configuration() -> None:
    (example,) = blocks(SETTINGS, "yaml")
    config = check({**yaml.safe_load(example), "streams": [{"url": "street.mp4"}]})
    assert list(config.pools) == ["infer-fast", "infer-strong"]
    assert config.asked_of == {"depth": "strong"}


LIVE_OPTIONS = {field.name: field.default for field in fields(LiveOptions) if field.name != "epoch"}


def test_every_option_of_a_live_stream_is_in_its_table() -> None:
    assert sorted(named_in_table(CAMERAS)) == sorted(LIVE_OPTIONS)


@pytest.mark.parametrize("option", list(LIVE_OPTIONS))
def test_what_a_live_stream_does_if_an_option_is_left_out(option: str) -> None:
    default = LIVE_OPTIONS[option]
    told = {"True": "yes", "False": "no", "": "any"}.get(str(default), str(default))
    assert re.search(rf"^\| `{option}` \|.*\| `?{re.escape(told)}\b[^|]*\|$", CAMERAS, re.MULTILINE)


def commands_of(group: Any, name: str = "") -> dict[str, list[str]]:
    """The options of every command."""
    own = [option for each in group.params for option in each.opts if option.startswith("--")]
    found: dict[str, list[str]] = {name or "plantain": own}
    for part, inner in getattr(group, "commands", {}).items():
        found |= commands_of(inner, f"{name} {part}".strip())
    return found


@pytest.mark.parametrize("command", sorted(get_command(app).commands))  # type: ignore[attr-defined]  # it is a group
def test_every_command_is_documented(command: str) -> None:
    assert re.search(rf"plantain (\w+\|)?{command}\b", COMMANDS)


def test_every_option_of_every_command_is_documented() -> None:
    told: dict[str, list[str]] = {}
    for names, options in re.findall(r"^\| (`.*?`) \| (`--.*?`) \|$", COMMANDS, re.MULTILINE):
        told |= dict.fromkeys(re.findall(r"`(.*?)`", names), re.findall(r"`(--.*?)`", options))
    assert told == {name: options for name, options in commands_of(get_command(app)).items() if options}


def test_every_task_is_documented() -> None:
    asked = {re.split(r"[\[:]", written)[0] for written in named_in_table(PROMPTS)}
    assert asked == set(map(str, Task))


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", text_of(name)):
        path = "".join(target)
        assert "://" in path or (ROOT / name).parent.joinpath(path).exists(), path


def test_every_file_of_the_architecture_is_there() -> None:
    places = [ROOT / "pipeline" / "engine", ROOT / "pipeline", ROOT / "deploy" / "service", ROOT]
    places += [ROOT / "operators" / "models", *(ROOT / "operators" / name for name in ("sinks", "sources"))]
    for path in set(re.findall(r"`([\w/]+\.py)\b", text_of("docs/architecture.md"))):
        assert "NAME" in path or any((place / path).exists() for place in places), path


@pytest.mark.parametrize("columns", [IDENTITY, FRAME_COLUMNS[len(IDENTITY) :], OBJECT_COLUMNS, EVENT_COLUMNS])
def test_the_list_of_columns_is_written_from_the_code(columns: tuple[Column, ...]) -> None:
    assert f"\n\n{written(columns)}\n" in TABLES


@pytest.mark.parametrize(
    "path", sorted((ROOT / "deploy" / "configs").glob("*.yaml")), ids=lambda path: path.name
)
def test_every_example_is_a_configuration_without_mistakes(path: Path) -> None:
    """As `plantain validate` finds them."""
    check_run(load(path))


def test_the_synthetic_example_runs(tmp_path: Path) -> None:
    data = load(ROOT / "deploy" / "configs" / "synthetic.yaml").model_dump(
        mode="json", exclude={"prompts", "streams"}
    )
    example = load(ROOT / "deploy" / "configs" / "synthetic.yaml")
    data |= {
        "prompts": [str(prompt) for prompt in example.prompts],
        "streams": [{"url": stream.url, "id": stream.id, "max_frames": 4} for stream in example.streams],
        "model": {"name": "fake"},
        "output": {"out": str(tmp_path)},
        "executor": "inline",
    }
    assert run_job(check(data)).exit_code == 0


def test_the_queries_run(tmp_path: Path) -> None:
    config = check(
        {
            "streams": [
                {"url": "synthetic://street?seed=6&frames=6&width=192&height=112&stamp=1", "id": "street"}
            ],
            "prompts": ["instances:car", "semantic:car,road", "depth"],
            "model": {"name": "fake", "canvas": {"width": 192, "height": 112}},
            "output": {"out": str(tmp_path / "out")},
            "executor": "inline",
            "analytics": [{"name": "presence", "options": {"min_s": 0.0}}],
        }
    )
    assert run_job(config).exit_code == 0
    queries = [*blocks(README, "sql"), *blocks(TABLES, "sql")]
    assert len(queries) == 7
    database = duckdb.connect()
    for query in queries:
        rows = database.execute(query.replace("'out/", f"'{tmp_path}/out/")).fetchall()
        assert rows or query.startswith("CREATE VIEW")
    for view in ("frames", "objects"):
        assert database.execute(f"SELECT * FROM {view}").fetchall()


def test_cars_a_second_of_a_camera_go_by_the_clock(tmp_path: Path) -> None:
    """Two lives of a camera, whose own times both begin at 0, and a file, in the query that the README begins with."""
    (query,) = blocks(README, "sql")
    folder = tmp_path / "out" / "objects" / "stream=all"
    folder.mkdir(parents=True)
    duckdb.sql(
        f"""COPY (SELECT * FROM (VALUES
            ('camera', 0, 0.5, TIMESTAMPTZ '2026-01-01 00:00:00.5Z', 1, 8.0),
            ('camera', 0, 0.9, TIMESTAMPTZ '2026-01-01 00:00:00.9Z', 2, 9.0),
            ('camera', 1, 0.5, TIMESTAMPTZ '2026-01-01 00:01:00.5Z', 3, 7.0),
            ('file', 0, 0.5, NULL, 1, 5.0),
            ('file', 0, 1.5, NULL, 1, 4.0)
        ) t(stream_id, epoch, time_s, captured_at, track_id, distance_m), (SELECT 'instances:car' AS prompt))
        TO '{folder}/part.parquet'"""
    )
    rows = duckdb.sql(query.replace("'out/", f"'{tmp_path}/out/")).fetchall()
    at = 1767225600.0
    assert rows == [
        ("camera", at, 2, 8.0),
        ("camera", at + 60, 1, 7.0),
        ("file", 0.0, 1, 5.0),
        ("file", 1.0, 1, 4.0),
    ]


def test_a_camera_of_ones_own_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_cameras.py").write_text(blocks(text_of("docs/cameras.md"), "python")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    (stream,) = yaml.safe_load(
        re.search(r"^    (streams: .*)$", text_of("docs/cameras.md"), re.MULTILINE)[1]
    )["streams"]
    config = plantain.check(
        {
            "streams": [stream | {"max_frames": 3}],
            "prompts": ["depth"],
            "model": {"name": "fake"},
            "output": {"out": str(tmp_path / "out")},
        }
    )
    assert plantain.run(config).exit_code == 0
    rows = plantain.read_frames(str(tmp_path / "out"), ["stream_id", "width", "height", "status"])
    assert {name: set(column) for name, column in rows.items()} == {
        "stream_id": {"hall"}, "width": {640}, "height": {360}, "status": {"ok"},
    }  # fmt: skip
    assert len(rows["status"]) == 3


@pytest.mark.parametrize(("name", "most_lines"), [("README.md", 10), ("docs/cameras.md", 20)])
def test_the_python_examples_run(tmp_path: Path, name: str, most_lines: int) -> None:
    example = blocks(text_of(name), "python")[-1]
    assert len(example.strip().splitlines()) <= most_lines
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example.replace("frames=50", "frames=3")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
