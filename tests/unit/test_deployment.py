"""The files that deploy and watch Plantain: each is valid by its tool's own measure, and they agree with the code."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import compose_spec
import jsonschema
import kubernetes_validate
import pytest
import yaml

from deploy.job import run_job
from operators.types import HealthState
from pipeline.config import check, load
from pipeline.metrics import METRICS, MetricKind
from tests.assets import clips
from tests.prometheus_server import promtool, why_missing

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
RAY = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# -- what Prometheus and Grafana ask ---------------------------------------------------------------------------


def rules() -> list[dict[str, Any]]:
    return [rule for group in read(DEPLOY / "prometheus" / "rules.yml")["groups"] for rule in group["rules"]]


def known_series() -> dict[str, set[str]]:
    """Every series that may be asked for, with its labels."""
    series: dict[str, set[str]] = {"up": {"job", "instance"}}
    for metric in METRICS:
        labels = {*metric.labels, "job", "instance"}
        if metric.kind is MetricKind.HISTOGRAM:
            series[f"{metric.name}_bucket"] = labels | {"le"}
            series[f"{metric.name}_sum"] = series[f"{metric.name}_count"] = labels
        else:
            series[metric.name] = labels
    for rule in rules():
        if "record" in rule:
            series[rule["record"]] = set.union(*(labels for _, labels in asked(rule["expr"], series)))
    return series


def asked(expression: str, series: dict[str, set[str]]) -> Iterator[tuple[str, set[str]]]:
    """The series of an expression, with the labels that they have."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    for name in re.findall(r"\b(?:plantain[_:][a-z0-9_:]*|up)\b", bare):
        assert name in series, f"{name} does not exist: {expression}"
        yield name, series[name]


def assert_exists(expression: str, series: dict[str, set[str]]) -> None:
    """Every series exists, is filtered by labels that it has, and is grouped by labels that some series has."""
    found = dict(asked(expression, series))
    assert found, f"nothing of Plantain's is asked for: {expression}"
    bare = re.sub(r'"[^"]*"', '""', expression)
    for name, selector in re.findall(r"\b(plantain[_:][a-z0-9_:]*|up)\{([^}]*)\}", bare):
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector):
            assert label in series[name], f"{name} has no label {label}: {expression}"
    for labels in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", bare):
        for label in filter(None, map(str.strip, labels.split(","))):
            assert any(label in has for has in found.values()), f"nothing has a label {label}: {expression}"


def queries(dashboard: Path) -> list[tuple[str, str]]:
    """Each panel's title and question, with Grafana's variables filled in."""
    board = json.loads(dashboard.read_text(encoding="utf-8"))
    found = []
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$stream", ".*")
            found.append((panel["title"], expression))
    return found


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_rule_asks_for_what_exists(rule: dict[str, Any]) -> None:
    assert_exists(rule["expr"], known_series())
    if "alert" in rule:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.name)
def test_every_panel_asks_for_what_exists(dashboard: Path) -> None:
    asked_for = queries(dashboard)
    assert len(asked_for) >= 10
    for _, expression in asked_for:
        assert_exists(expression, known_series())


def test_every_figure_is_on_a_dashboard_or_in_an_alert() -> None:
    text = " ".join(expression for board in DASHBOARDS for _, expression in queries(board))
    text += " ".join(rule["expr"] for rule in rules())
    missing = [metric.name for metric in METRICS if metric.name not in text]
    assert not missing, f"nobody looks at {missing}"


def test_a_question_about_what_does_not_exist_would_be_found() -> None:
    for wrong in (
        "plantain_frames_lost_total",
        'plantain_streams{stream="a"}',
        "sum by (camera) (plantain_streams)",
    ):
        with pytest.raises(AssertionError):
            assert_exists(wrong, known_series())


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_has_the_form_that_grafana_takes(dashboard: Path) -> None:
    board = json.loads(dashboard.read_text(encoding="utf-8"))
    assert board["uid"] == f"plantain-{dashboard.stem}"
    assert board["schemaVersion"] >= 36
    assert "id" not in board, "Grafana gives it its own"
    identities = [panel["id"] for panel in board["panels"]]
    assert len(set(identities)) == len(identities)
    variables = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(board["panels"])))
    assert used <= variables
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} covers another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["fieldConfig"]["defaults"]["unit"]
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references)


def test_the_manual_has_every_figure_and_every_alert() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(plantain_\w+)` \|.*$", manual, re.MULTILINE))
    assert documented == {metric.name for metric in METRICS}
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        assert f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |" in manual
    alerts = set(re.findall(r"^\| `(Plantain\w+)` \|", manual, re.MULTILINE))
    assert alerts == {rule["alert"] for rule in rules() if "alert" in rule}
    for path in re.findall(r"^\| `([^`]*?/[^`]*)`(?:, `([^`]*)`)? \|", manual, re.MULTILINE):
        assert (ROOT / path[0]).exists()


@pytest.fixture(scope="module")
def prometheus() -> None:
    if (why := why_missing()) is not None:
        pytest.skip(why)


@pytest.mark.usefixtures("prometheus")
def test_prometheus_takes_rules_and_configuration() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", DEPLOY / "prometheus" / "rules.yml")
    promtool("check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml")


@pytest.mark.usefixtures("prometheus")
def test_every_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", DEPLOY / "prometheus" / "rules_test.yml")
    tests = read(DEPLOY / "prometheus" / "rules_test.yml")["tests"]
    fired = {
        check["alertname"]
        for test in tests
        for check in test.get("alert_rule_test", [])
        if "exp_alerts" in check
    }
    assert fired == {rule["alert"] for rule in rules() if "alert" in rule}


@pytest.mark.usefixtures("prometheus")
@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.name)
def test_prometheus_understands_every_panel(dashboard: Path, tmp_path: Path) -> None:
    group = [
        {"record": f"panel:number_{k}", "expr": expression}
        for k, (_, expression) in enumerate(queries(dashboard))
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": group}]}), encoding="utf-8")
    promtool("check", "rules", "--lint=none", path)


def test_alerts_speak_of_states_that_streams_have() -> None:
    states = set(HealthState.__args__)  # type: ignore[attr-defined]  # it is a Literal
    silent = next(rule for rule in rules() if rule.get("alert") == "PlantainCameraSilent")
    named = re.search(r"they say ([a-z, ]+)", silent["annotations"]["description"])
    assert named
    assert set(re.findall(r"[a-z]+", named[1])) - {"or"} <= states


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


# The fields that KubeRay's API ray.io/v1 has; its CRDs are in no package, so this is what its Go types say.
POD_GROUP = {"rayStartParams", "template"}
HEAD = POD_GROUP | {"serviceType", "headService", "enableIngress"}
WORKERS = POD_GROUP | {
    "groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "idleTimeoutSeconds", "scaleStrategy",
}  # fmt: skip
CLUSTER = {
    "headGroupSpec", "workerGroupSpecs", "rayVersion", "enableInTreeAutoscaling", "autoscalerOptions",
    "headServiceAnnotations", "suspend", "managedBy", "gcsFaultToleranceOptions",
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
    assert stream.account.dropped["not sampled"] > 0


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


@pytest.mark.timeout(280)
def test_installed_as_in_the_image_the_command_has_all_that_it_needs(tmp_path: Path) -> None:
    """A wheel in an environment of its own, which borrows only the dependencies of this one."""
    source = tmp_path / "src"
    source.mkdir()
    for name in ("pyproject.toml", "constraints.txt", "README.md"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "operators", "pipeline", "deploy"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in filter(lambda name: (ROOT / name).exists(), tracked):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    (libraries,) = home.glob("lib/python*/site-packages")
    (libraries / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    install = ["-m", "pip", "--python", str(home), "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, *install, "--ignore-installed", str(source)], check=True, timeout=200, cwd=tmp_path
    )
    probe = "import deploy, operators.models.plantain as m; print(deploy.__file__); print(m.__file__)"
    said = subprocess.run(
        [home / "bin" / "python", "-c", probe], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert all(line.startswith(str(home)) for line in said.stdout.split()), "it is this tree's"
    for name in ("models/plantain/weights.safetensors",):
        assert (libraries / "operators" / name).stat().st_size > 1 << 20
    data = {path for path in tracked if path.startswith(("deploy/web/", "deploy/configs/"))}
    assert data
    assert all((libraries / path).is_file() for path in data)
    done = subprocess.run(
        [
            home / "bin" / "plantain",
            "run",
            "synthetic://street?frames=4",
            "--task",
            "depth",
            "--model",
            "fake",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "4 frames of 1 streams answered" in done.stdout
