"""docs/http.md: every command line in it is run, in its order, and every address of the interface is in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.app import create_app
from pipeline.config import PipelineConfig, check, load
from tests.assets.clips import make
from tests.gateways import StepGateway
from tests.serving import client, eventually, jpeg, served, served_with_engine

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "street.jpg").write_bytes(jpeg(9))
    make(folder / "street.mp4", 20, size=(160, 96))
    return folder


@pytest.fixture
def base(folder) -> Iterator[str]:
    config = check(
        {
            "streams": [],
            "model": {"name": "fake", "canvas": {"width": 160, "height": 96}},
            "output": {"out": str(folder / "out"), "rasters": False},
            "executor": "threads",
        },
        may_be_idle=True,
    )
    with served_with_engine(config) as base:
        yield base


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_command_line_works(base, folder) -> None:
    environment = {**os.environ, "PLANTAIN": base, "no_proxy": "127.0.0.1"}
    commands = blocks("bash")
    assert len(commands) > 12
    for command in commands:
        if "/query" in command:
            eventually(lambda: _has_results(base), "a stream with results")
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, command
        if "-o " in command:
            continue
        text = done.stdout.decode()
        if "watch" in command:
            assert "event: match" in text, command
            continue
        document = json.loads(text)
        assert "status" not in document, f"{command}\n{text}"
    assert (folder / "depth.png").read_bytes()[:4] == b"\x89PNG"
    assert (folder / "found.jpg").read_bytes()[:2] == b"\xff\xd8"


def _has_results(base: str) -> bool:
    with client(base) as http:
        response = http.get("/v1/streams/north")
        return response.status_code == 200 and response.json()["results"] > 0


def test_the_python_example_works(base, folder, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    (example,) = blocks("python")
    exec(compile(example.replace("http://127.0.0.1:8000", base), "docs/http.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"car \d", printed)
    assert "south" in printed


def config_of_nothing() -> PipelineConfig:
    return check({"streams": [], "model": {"name": "fake"}}, may_be_idle=True)


def test_every_address_is_in_the_document() -> None:
    config = config_of_nothing()
    with served(config, StepGateway(config)) as base, client(base) as http:
        paths = http.get("/openapi.json").json()["paths"]
    for path in [*paths, "/v1/live", "/docs", "/openapi.json"]:
        assert path.replace("{stream_id}", "north") in TEXT, path


def test_the_example_configuration_is_accepted() -> None:
    config = load(ROOT / "deploy" / "configs" / "serve.yaml")
    assert create_app(config, StepGateway(config_of_nothing()))
