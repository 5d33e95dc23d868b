"""docs/remote.md says what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from plantain.operators.models import BACKENDS, spec_of
from plantain.operators.models.hosted.catalogue import HOSTED
from plantain.operators.models.hosted.chat import ChatOptions
from plantain.operators.models.hosted.gemini_image import DrawingOptions
from plantain.operators.models.hosted.gemini_text import TextOptions
from plantain.operators.models.hosted.images import ImagesOptions
from plantain.operators.models.hosted.prices import GONE, PRICES, price_of
from plantain.operators.models.together.catalogue import TOGETHER
from plantain.operators.models.together.gate import GateParts
from plantain.operators.models.together.rewriting import RewritingParts
from plantain.operators.models.together.router import Routes
from plantain.operators.models.together.specialists import SpecialistRoutes
from plantain.operators.models.together.voting import VotingParts
from plantain.pipeline.config import check, plain
from plantain.pipeline.video import build_graph

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "remote.md").read_text(encoding="utf-8")
EXAMPLES = ["laptop", "own_server", "gemini", "keyframes", "specialists"]


@pytest.mark.parametrize("options", [ImagesOptions, ChatOptions, TextOptions, DrawingOptions])
def test_every_option_is_told(options: Any) -> None:
    for each in fields(options):
        assert f"`{each.name}`" in PAGE, each.name


def test_every_combination_is_told_with_its_options() -> None:
    parts = {
        "router": Routes,
        "specialists": SpecialistRoutes,
        "gate": GateParts,
        "rewriting": RewritingParts,
        "voting": VotingParts,
    }
    assert {*parts} == {*TOGETHER}
    rows = dict(re.findall(r"^\| `(\w+)` \| (`\w+`(?:, `\w+`)*) \|", PAGE, re.MULTILINE))
    for name, options in parts.items():
        told = set(re.findall(r"\w+", rows[name]))
        assert told == {each.name for each in fields(options)}, name  # type: ignore[arg-type]


def test_every_hosted_model_is_told() -> None:
    assert all(f"| `{name}` |" in PAGE for name in HOSTED)


def test_its_example_is_a_configuration() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    models = yaml.safe_load(block)["models"]
    build_graph(
        check({"streams": [{"url": "synthetic://street?seed=1"}], "prompts": ["depth"], "models": models})
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_told_and_can_be_planned(name: str) -> None:
    assert f"`{name}.yaml`" in PAGE
    written = plain(ROOT / "deploy" / "configs" / f"{name}.yaml")
    written["streams"] = [{"url": "synthetic://street?seed=1"}]  # nothing is opened
    build_graph(check(written))


def test_no_default_names_a_model_that_ends_or_has_no_price() -> None:
    for options in (TextOptions, DrawingOptions):
        model = options(max_usd_per_hour=1.0).model
        assert model in PRICES
        assert model not in GONE
        assert price_of(model).output_usd > 0
    assert not {*PRICES} & {*GONE}
    assert all("ends" not in spec.summary for spec in BACKENDS.values())
    assert spec_of("gemini").is_paid


PLAN = """
import sys
from plantain.pipeline.config import check
from plantain.pipeline.video import build_graph
hosted = {"name": "gemini-image", "options": {"max_usd_per_hour": 2}}
gate = {"name": "gate", "options": {"model": hosted, "presence": "embedded"}}
streams = [{"url": "synthetic://street?seed=1"}]
build_graph(check({"streams": streams, "prompts": ["depth"], "models": {"a": gate, "b": hosted}}))
print(*sorted({"torch", "ray", "numba", "scipy", "httpx"} & {*sys.modules}))
"""


def test_planning_loads_neither_the_models_nor_their_client() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLAN],
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == []
