"""`plantain serve` in a cluster where somebody else uses Ray Serve already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
import yaml
from ray import serve
from ray.cluster_utils import Cluster

from tests.ports import free_port
from tests.service_process import refused, serving

pytestmark = [pytest.mark.ray, pytest.mark.timeout(290)]

TOKEN = "0123456789abcdef-shared"


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Other:
    """Somebody else's application."""

    async def __call__(self, _request: Any) -> str:
        return "still here"


@pytest.fixture
def others() -> Iterator[tuple[str, int]]:
    """Address of a cluster, and the port where its Serve answers all machines."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "object_store_memory": 128 << 20, "include_dashboard": False},
    )
    ray.init(
        address=cluster.address, namespace="others", log_to_driver=False, logging_level="ERROR",
        configure_logging=False,
    )  # fmt: skip
    port = free_port()
    try:
        quiet = {"log_level": "ERROR", "enable_access_log": False}
        serve.start(http_options={"host": "0.0.0.0", "port": port}, logging_config=quiet)
        serve.run(Other.bind(), name="other", route_prefix="/other", logging_config=quiet)
        yield cluster.address, port
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


def test_it_joins_them_where_they_listen_and_leaves_them_there(
    others: tuple[str, int], tmp_path: Path
) -> None:
    address, port = others
    settings: dict[str, Any] = {
        "streams": [],
        "prompts": ["depth"],
        "model": {"name": "fake"},
        "output": {"out": str(tmp_path / "out")},
        "executor": "ray",
        "ray": {"address": address},
        "serve": {"port": 0},
    }
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump(settings))
    assert "serve.host is 0.0.0.0, which other machines can reach" in refused("--config", config)
    settings["serve"]["token"] = TOKEN
    config.write_text(yaml.safe_dump(settings))
    own = f"http://127.0.0.1:{port}"
    with serving("--config", config) as (told, _):
        assert told == f"http://0.0.0.0:{port}"
        found = httpx.get(f"{own}/v1/streams", headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False)
        assert found.status_code == 200
        assert httpx.get(f"{own}/v1/streams", trust_env=False).status_code == 401
    assert httpx.get(f"{own}/other", trust_env=False).text == "still here"
    assert set(serve.status().applications) == {"other"}
