"""A real Prometheus beside a real run: it scrapes, keeps the figures and evaluates the rules."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.assets import clips
from tests.prometheus_server import Prometheus, running, why_missing

ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0


def settle(server: Prometheus, expression: str, at_least: float) -> None:
    """Waits until every series of an expression has come to a value."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        series = server.query(expression)
        if series and all(float(one["value"][1]) >= at_least for one in series):
            return
        assert time.monotonic() < deadline_s, f"{expression} is {series} after {PATIENCE_S} s"
        time.sleep(0.3)


@pytest.mark.timeout(280)
def test_prometheus_finds_in_a_run_what_the_rules_need(tmp_path: Path) -> None:
    if (why := why_missing()) is not None:
        pytest.skip(why)
    clip = clips.make(tmp_path / "clip.mp4", 50)
    camera = {"id": "yard", "url": str(clip), "options": {"realtime": "yes", "loop": "yes"}}
    config = tmp_path / "street.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "streams": [camera, {"id": "file", "url": str(clip)}],
                "prompts": ["depth"],
                "model": {"name": "fake", "canvas": {"width": 64, "height": 48}},
                "output": {"out": str(tmp_path / "out"), "segment_frames": 16},
            }
        ),
        encoding="utf-8",
    )
    plantain = subprocess.Popen(
        [sys.executable, "-m", "plantain.deploy.cli", "run", "--config", str(config), "--metrics", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert plantain.stderr is not None
        port = next(line["port"] for line in map(json.loads, plantain.stderr) if line["event"] == "metrics")
        settings = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
        settings["global"] = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"}
        settings["rule_files"] = [str(ROOT / "deploy/prometheus/rules.yml")]
        settings["scrape_configs"] = [
            {"job_name": "plantain", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        ]
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        with running(tmp_path / "prometheus.yml", tmp_path) as server:
            settle(server, 'plantain_frames_answered_total{stream="yard"}', 20)
            settle(server, 'plantain_frames_answered_total{stream="file"}', 50)
            settle(server, 'plantain:frames_answered:rate1m{stream="yard"}', 0.1)
            settle(server, 'plantain_result_latency_seconds_count{stream="yard"}', 20)
            health = server.rules()
            assert set(health.values()) == {"ok"}, health
            defined = (ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8")
            assert set(health) == set(re.findall(r"(?:alert|record): (\S+)", defined))
            (up,) = server.query("up")
            assert up["value"][1] == "1"
            assert not server.query('ALERTS{alertstate="firing"}')
        plantain.send_signal(signal.SIGINT)
        assert plantain.wait(timeout=60) == 130
    finally:
        plantain.kill()
        plantain.communicate()
