"""The README against the code: every setting, command, option and column is in it, and what it shows runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import duckdb
import pytest
from pydantic import BaseModel
from typer.main import get_command

from plantain.deploy.cli.app import app
from plantain.deploy.job import run_job
from plantain.operators.answers.base import Column
from plantain.operators.sinks.columns import EVENT_COLUMNS, FRAME_COLUMNS, IDENTITY, OBJECT_COLUMNS, written
from plantain.operators.sources.live.options import LiveOptions
from plantain.pipeline.config import PipelineConfig, check, load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = [field.annotation, *typing.get_args(field.annotation)]
        section = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if section is None:
            yield prefix + name
        else:
            is_list = typing.get_origin(field.annotation) is tuple
            yield from settings(section, f"{prefix}{name}{'[]' if is_list else ''}.")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("setting", list(settings(PipelineConfig)))
def test_every_setting_is_in_the_readme(setting: str) -> None:
    assert f"| `{setting}` |" in README


@pytest.mark.parametrize("option", [field.name for field in fields(LiveOptions) if field.name != "epoch"])
def test_every_option_of_a_live_stream_is_in_the_readme(option: str) -> None:
    assert f"`{option}`" in README.split("## Cameras")[1].split("\n## ")[0]


def test_the_readme_names_no_setting_that_does_not_exist() -> None:
    section = README.split("## Configuration")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)) == set(settings(PipelineConfig))


@pytest.mark.parametrize("command", sorted(get_command(app).commands))  # type: ignore[attr-defined]  # it is a group
def test_every_command_is_in_the_readme(command: str) -> None:
    assert re.search(rf"plantain (\w+\|)?{command}\b", README)


@pytest.mark.parametrize("columns", [IDENTITY, FRAME_COLUMNS[len(IDENTITY) :], OBJECT_COLUMNS, EVENT_COLUMNS])
def test_the_list_of_columns_is_written_from_the_code(columns: tuple[Column, ...]) -> None:
    assert f"\n\n{written(columns)}\n" in (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "deploy" / "configs").glob("*.yaml")), ids=lambda path: path.name
)
def test_every_example_is_a_configuration_without_mistakes(path: Path) -> None:
    load(path)


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


def test_the_queries_of_the_readme_run(tmp_path: Path) -> None:
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
    queries = blocks("sql")
    assert len(queries) == 4
    for query in queries:
        rows = duckdb.sql(query.replace("'out/", f"'{tmp_path}/out/")).fetchall()
        assert rows


def test_the_python_example_of_the_readme_runs(tmp_path: Path) -> None:
    (example,) = blocks("python")
    assert len(example.strip().splitlines()) <= 10
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
