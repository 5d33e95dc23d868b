"""What Ray shows of a run: figures with Plantain's names from its agents, and actors that say what they are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families
from ray.util.state import list_actors

from plantain.deploy.job import run_job
from plantain.deploy.ray.metrics import RayFigures
from plantain.pipeline.config import check
from plantain.pipeline.engine.engine import Engine
from tests.assets import clips
from tests.ports import free_port

pytestmark = [pytest.mark.ray, pytest.mark.timeout(280)]

# Ray's agents publish what they have been told every few seconds.
PATIENCE_S = 90.0


@pytest.fixture
def exported() -> Iterator[str]:
    """The address of a local Ray's agent, for Prometheus."""
    port = free_port()
    ray.init(
        address="local", include_dashboard=True, dashboard_port=free_port(), _metrics_export_port=port, num_cpus=2,
        object_store_memory=256 << 20, log_to_driver=False, logging_level="ERROR", configure_logging=False,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}/metrics"
    ray.shutdown()


def scraped(address: str) -> dict[str, dict[str, float]]:
    """Plantain's figures, by name and then by the first of their own labels."""
    with urlopen(address, timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("ray_plantain_"):
                label = (
                    sample.labels.get("stream") or sample.labels.get("stage") or sample.labels.get("task", "")
                )
                found.setdefault(sample.name, {})[label] = sample.value
    return found


def test_rays_agent_exports_the_figures_and_its_list_of_actors_names_the_stages(
    exported: str, tmp_path: Path
) -> None:
    clip = str(clips.make(tmp_path / "clip.mp4", 40))
    config = check(
        {
            "streams": [{"id": "north", "url": clip}, {"id": "south", "url": clip, "max_frames": 10}],
            "prompts": ["depth"],
            "model": {"name": "fake", "canvas": {"width": 64, "height": 48}},
            "executor": "ray",
            "output": {"out": str(tmp_path / "out")},
        }
    )
    figures = RayFigures()
    names: set[str] = set()

    def look(engine: Engine) -> None:
        figures.update(engine)
        if not names:
            here = ray.get_runtime_context().gcs_address  # other tests may have a Ray of their own
            actors = list_actors(address=here, detail=True)
            names.update(f"{actor.name} {actor.repr_name}" for actor in actors)

    run_job(config, on_progress=look)
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        found = scraped(exported)
        answered = found.get("ray_plantain_frames_answered_total", {})
        if answered == {"north": 40.0, "south": 10.0} and found.get("ray_plantain_answers_total"):
            break
        assert time.monotonic() < deadline_s, found
        time.sleep(1.0)
    assert found["ray_plantain_answers_total"] == {"depth": 50.0}
    assert found["ray_plantain_result_latency_seconds_count"] == {"north": 40.0, "south": 10.0}
    for stage in ("read", "infer", "analyse", "write"):
        assert any(f"-{stage}-0" in name and f"plantain {stage}" in name for name in names), names
