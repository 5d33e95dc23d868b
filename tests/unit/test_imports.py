"""What is loaded when: a graph is built and checked without the heavy libraries that its workers need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from plantain.operators.models import BACKENDS

ROOT = Path(__file__).parents[2]

CONFIG = """
streams: [{url: "synthetic://street?seed=1&frames=5"}]
prompts: [depth, "instances:car"]
model: {name: embedded}
executor: ray
output: {out: nowhere, sinks: [parquet, overlay]}
"""

LIBRARIES = {"transformers", "diffusers", "accelerate", "peft", "torchvision", "huggingface_hub"} | {
    module for spec in BACKENDS.values() for module in spec.apart
}
"""What only the models of the extra `models`, and those installed apart, need."""

BUILD = """
from pathlib import Path
from plantain.pipeline.config import load
from plantain.pipeline.video import build_graph
build_graph(load(Path("config.yaml"))).describe()
"""

COMMAND = """
import contextlib, sys
from plantain.deploy.cli.app import main
sys.argv = ["plantain", *{arguments!r}]
with contextlib.suppress(SystemExit):
    main()
"""


def loaded_by(code: str, folder: Path, timeout_s: float = 120) -> set[str]:
    """Top-level packages in a fresh interpreter after `code`."""
    (folder / "config.yaml").write_text(CONFIG)
    listing = (
        "\nimport sys\n"
        "print('loaded:', *{name.partition('.')[0] for name in sys.modules}, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + listing],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rpartition("loaded:\n")[2].split())


def test_a_graph_is_built_and_described_without_torch_ray_or_numba(tmp_path):
    loaded = loaded_by(BUILD, tmp_path)
    assert "pydantic" in loaded
    assert not loaded & {"torch", "ray", "numba", "scipy", "av"}


@pytest.mark.timeout(600)  # it compiles on a machine that has not yet
def test_a_run_on_the_embedded_model_loads_nothing_of_the_other_models(tmp_path):
    street = "synthetic://street?seed=1&frames=2"
    tasks = ["--task", "depth", "--task", "instances:car"]
    arguments = ["run", street, *tasks, "--out", "out", "--executor", "inline"]
    loaded = loaded_by(COMMAND.format(arguments=arguments), tmp_path, timeout_s=500)
    assert (tmp_path / "out" / "frames").is_dir(), "it ran"
    assert "torch" in loaded
    assert not loaded & {"ray", "cv2", "timm", "httpx", *LIBRARIES}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["validate", "config.yaml"],
        ["describe", "config.yaml"],
        ["models"],
        ["models", "check", "embedded"],
    ],
)
def test_commands_that_only_answer_load_nothing_heavy(tmp_path, arguments):
    loaded = loaded_by(COMMAND.format(arguments=arguments), tmp_path)
    assert "typer" in loaded
    assert not loaded & {"torch", "ray", "numba", "scipy", "av", *LIBRARIES}
    assert "pyarrow" not in loaded or arguments[0] in ("validate", "describe")
    assert arguments != ["models"] or not loaded & {"structlog", "asyncio", "yaml"}, "a list comes at once"
