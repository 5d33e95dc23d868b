"""docs/http.md: every command line in it is run, in its order, and every address of the interface is in it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plantain.deploy.client import Client
from plantain.deploy.service.app import create_app
from plantain.pipeline.config import PipelineConfig, check, load
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
    with served_with_engine(config_of(folder, "fake")) as base:
        yield base


def config_of(folder: Path, model: str) -> PipelineConfig:
    return check(
        {
            "streams": [],
            "model": {"name": model, "canvas": {"width": 160, "height": 96}},
            "output": {"out": str(folder / "out"), "rasters": False},
            "executor": "threads",
        },
        may_be_idle=True,
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_command_line_works(base, folder) -> None:
    commands = [command for command in blocks("bash") if "generate:" not in command]
    assert len(commands) > 12
    for command in commands:
        if "/query" in command:
            eventually(lambda: _has_results(base), "a stream with results")
        text = run(command, base, folder)
        if "-o " in command:
            continue
        if "watch" in command:
            assert "event: match" in text, command
            continue
        document = json.loads(text)
        assert "status" not in document, f"{command}\n{text}"
    assert (folder / "depth.png").read_bytes()[:4] == b"\x89PNG"
    assert (folder / "found.jpg").read_bytes()[:2] == b"\xff\xd8"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_picture_is_drawn_from_words(folder) -> None:
    (command,) = (command for command in blocks("bash") if "generate:" in command)
    with served_with_engine(config_of(folder, "embedded")) as base:
        run(command, base, folder)
        with Client(base) as plantain:
            again = plantain.draw("generate:a wet street at night", "image/png")
            other = plantain.draw("generate:a street in sunshine", "image/png")
            (frame,) = plantain.predict(["generate:a street in sunshine"], image=jpeg(9)).frames
    drawn = [
        np.asarray(Image.open(io.BytesIO(data)))
        for data in ((folder / "drawn.png").read_bytes(), again, other)
    ]
    assert drawn[0].shape == (96, 160, 3)
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert frame.answers[0].status == "ok"


def run(command: str, base: str, folder: Path) -> str:
    """What a command line of the document prints."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PLANTAIN": base, "no_proxy": "127.0.0.1"},
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, command
    return done.stdout.decode() if "-o " not in command else ""


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
