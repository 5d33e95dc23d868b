"""The files that deploy Plantain: each is valid by its tool's own measure, and they agree with the code."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sysconfig
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import compose_spec
import jsonschema
import kubernetes_validate
import pytest
import yaml

from plantain.deploy.job import run_job
from plantain.pipeline.config import check, load
from tests.assets import clips

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
RAY = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# -- Ray and Kubernetes ----------------------------------------------------------------------------------------


def test_the_cluster_file_passes_rays_own_schema_and_checks() -> None:
    import ray.autoscaler
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = read(ROOT / "ray_cluster.yaml")
    schema = Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    jsonschema.validate(config, json.loads(schema.read_text(encoding="utf-8")))
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"])
    assert config["docker"]["image"] == f"plantain:{VERSION}-cuda"
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]


# The fields that KubeRay's API ray.io/v1 has; its CRDs are in no package, so this is what its Go types say.
POD_GROUP = {"rayStartParams", "template"}
HEAD = POD_GROUP | {"serviceType", "headService", "enableIngress"}
WORKERS = POD_GROUP | {
    "groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "idleTimeoutSeconds", "scaleStrategy",
}  # fmt: skip
CLUSTER = {
    "headGroupSpec", "workerGroupSpecs", "rayVersion", "enableInTreeAutoscaling", "autoscalerOptions",
    "headServiceAnnotations", "suspend", "managedBy", "gcsFaultToleranceOptions", "authOptions",
}  # fmt: skip
JOB = {
    "activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata", "clusterSelector",
    "submitterConfig", "managedBy", "deletionStrategy", "entrypoint", "runtimeEnvYAML", "jobId", "submissionMode",
    "entrypointResources", "entrypointNumCpus", "entrypointNumGpus", "ttlSecondsAfterFinished",
    "shutdownAfterJobFinishes", "suspend",
}  # fmt: skip
SERVICE = {
    "serveConfigV2", "rayClusterConfig", "serveService", "upgradeStrategy", "excludeHeadPodFromServeSvc",
    "rayClusterDeletionDelaySeconds",
}  # fmt: skip


def assert_is_cluster(cluster: dict[str, Any]) -> None:
    """A RayClusterSpec: its fields are known, and its pods are valid by Kubernetes' own schema."""
    assert set(cluster) <= CLUSTER
    assert RAY is not None
    assert cluster["rayVersion"] == RAY[1]
    assert cluster["authOptions"] == {"mode": "token"}
    head, workers = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert POD_GROUP <= set(head) <= HEAD
    for group in (head, *workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        template = group["template"]
        assert set(template) <= {"metadata", "spec"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "pod", **template["metadata"]},
            "spec": template["spec"],
        }
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
        volumes = {volume["name"] for volume in template["spec"]["volumes"]}
        for container in template["spec"]["containers"]:
            assert container["image"] == f"plantain:{VERSION}-cuda"
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert set(mounts) == volumes
            assert mounts["shm"] == "/dev/shm", "a small one would put Ray's object store on disk"
    for group in workers:
        assert POD_GROUP | {"groupName", "minReplicas", "maxReplicas"} <= set(group) <= WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def manifest(name: str, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = read(DEPLOY / "kuberay" / name)
    assert set(found) == {"apiVersion", "kind", "metadata", "spec"}
    assert (found["apiVersion"], found["kind"]) == ("ray.io/v1", kind)
    spec: dict[str, Any] = found["spec"]
    return spec


def test_the_job_for_kuberay_is_one() -> None:
    spec = manifest("rayjob.yaml", "RayJob")
    assert set(spec) <= JOB
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
    assert spec["entrypoint"].startswith("plantain run ")
    assert_is_cluster(spec["rayClusterSpec"])
    ports = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"]
    metrics = next(port["containerPort"] for port in ports if port["name"] == "metrics")
    assert f"--metrics 0.0.0.0:{metrics}" in spec["entrypoint"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own, of pydantic
def test_the_service_for_kuberay_is_one_and_ray_serve_takes_its_configuration() -> None:
    from ray.serve.schema import ServeDeploySchema

    spec = manifest("rayservice.yaml", "RayService")
    assert set(spec) <= SERVICE
    assert_is_cluster(spec["rayClusterConfig"])
    inside = yaml.safe_load(spec["serveConfigV2"])
    assert inside == read(DEPLOY / "serve_config.yaml")
    parsed = ServeDeploySchema.model_validate(inside)
    (application,) = parsed.applications
    module, _, name = application.import_path.partition(":")
    assert find_spec(module), f"{module} does not exist"
    assert re.search(
        rf"^(?:async )?(?:def|class) {name}\b|^{name}\b",
        Path(str(find_spec(module).origin)).read_text(encoding="utf-8"),
        re.MULTILINE,
    ), f"{module} has no {name}"  # type: ignore[union-attr]  # checked above


# -- Docker ----------------------------------------------------------------------------------------------------


def test_compose_reads_its_file() -> None:
    merged = read(DEPLOY / "compose.yaml")
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(merged)).validate()
    merged["services"]["kafka"]["imge"] = "apache/kafka"
    with pytest.raises(ValueError, match="imge"):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(merged))


def test_what_compose_starts_exists_and_is_pinned() -> None:
    config = read(DEPLOY / "compose.yaml")
    for name, service in config["services"].items():
        image, _, tag = service["image"].rpartition(":")
        assert image, f"{name} has an image without a tag"
        assert tag != "latest"
        assert set(service.get("depends_on", {})) <= set(config["services"])
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            exists = (DEPLOY / source).exists() if source.startswith(".") else source in config["volumes"]
            assert exists, f"{name} mounts {source}, which does not exist"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} can be reached from outside"
    targets = {
        target
        for scrape in read(DEPLOY / "prometheus" / "prometheus.yml")["scrape_configs"]
        for static in scrape["static_configs"]
        for target in static["targets"]
    }
    run = config["services"]["plantain"]["command"]
    assert f"plantain:{run[run.index('--metrics') + 1].split(':')[1]}" in targets
    serve = config["services"]["serve"]["command"]
    assert f"serve:{serve[serve.index('--port') + 1]}" in targets
    assert config["services"]["plantain"]["image"] == f"plantain:{VERSION}"


def test_what_compose_runs_runs(tmp_path: Path) -> None:
    """Its configuration, with a clip at its own pace in place of the camera, and without Kafka."""
    example = load(DEPLOY / "configs" / "compose.yaml").model_dump(
        mode="json", exclude={"prompts", "streams"}
    )
    written = read(DEPLOY / "configs" / "compose.yaml")
    (camera,) = written["streams"]
    clip = clips.make(tmp_path / "clip.mp4", 20)
    camera |= {"url": str(clip), "options": {"realtime": "yes"}}
    output = example["output"] | {"out": str(tmp_path / "out"), "sinks": ["parquet"]}
    config = example | {"streams": [camera], "prompts": written["prompts"], "output": output}
    config["model"] |= {"name": "fake"}
    outcome = run_job(check(config))
    (stream,) = outcome.streams
    assert outcome.exit_code == 0
    assert stream.account.results > 0
    assert stream.account.skipped["not sampled"] > 0


def test_what_the_service_begins_with_runs(tmp_path: Path) -> None:
    """The example's stream, cut short, with a model without weights."""
    written = read(DEPLOY / "configs" / "service.yaml")
    (street,) = written["streams"]
    street["url"] = re.sub(r"frames=\d+", "frames=6", street["url"])
    written["output"]["out"] = str(tmp_path / "out")
    outcome = run_job(check(written | {"model": {"name": "fake"}}))
    assert outcome.exit_code == 0
    assert outcome.streams[0].account.results > 0


def test_the_dockerfile_has_no_mistake_that_hadolint_knows() -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run(
        [hadolint, "--failure-threshold", "info", DEPLOY / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_everything_that_the_image_copies_is_there_and_reaches_docker() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    sources = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for name in line.split()[:-1]
    ]
    assert sources
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line[0] == "!"
    }
    for source in sources:
        assert (ROOT / source).exists()
        assert source in allowed, f".dockerignore keeps {source} back"
    assert allowed == set(sources)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
    assert {"cpu", "cuda"} <= stages
    assert set(re.findall(r"--from=(\S+)", text)) <= stages
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r'"\.\[([a-z,]+)\]"', text):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
