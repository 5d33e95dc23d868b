"""`plantain serve` as a process, with and without Ray: streams and queries through the death of anything."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from plantain.deploy.client import Client, ServiceError
from tests.assets.clips import make
from tests.service_process import refused, serving
from tests.serving import client, eventually, jpeg


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("clips") / "good.mp4", 100, size=(160, 96))


def write_config(folder: Path, clip: Path, executor: str, **model: object) -> Path:
    camera = {"url": str(clip), "fps": 5, "options": {"realtime": "yes", "loop": "yes"}}
    settings = {
        "streams": [{"id": "fixed", **camera}],
        "prompts": ["instances:car", "depth"],
        "model": {"name": "fake", "canvas": {"width": 160, "height": 96}, **model},
        "output": {"out": str(folder / "out"), "rasters": False, "segment_frames": 16},
        "executor": executor,
        "serve": {"port": 0},
    }
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def watched(base: str, stream_id: str, more_than: int) -> None:
    """Waits until a stream has given more results than so many."""

    def is_so() -> bool:
        with client(base) as http:
            response = http.get(f"/v1/streams/{stream_id}")
            return response.status_code == 200 and response.json()["results"] > more_than

    eventually(is_so, f"watching {stream_id}")


def test_in_one_process_streams_added_by_request_are_there_after_a_kill(tmp_path, clip) -> None:
    config = write_config(tmp_path, clip, "threads")
    with serving("--config", config, is_killed=True) as (base, process), Client(base) as plantain:
        plantain.add_stream(
            "street", "synthetic://street?seed=3&width=160&height=96&frames=9999", ["depth"], fps=2
        )
        plantain.change_stream("fixed", prompts=["depth"])
        watched(base, "fixed", 3)
        (answer,) = plantain.predict(["instances:car"], image=jpeg()).frames[0].answers
        assert answer.num_objects
        process.kill()
        process.wait()
    with Client(base, patience_s=1) as gone, pytest.raises(ServiceError, match="cannot be reached"):
        gone.streams()
    with serving("--config", config) as (base, _), Client(base) as plantain:
        streams = {stream.id: stream for stream in plantain.streams()}
        assert set(streams) == {"fixed", "street"}
        assert streams["fixed"].prompts == ["depth"]
        watched(base, "fixed", 3)


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory, clip) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("ray")
    config = write_config(folder, clip, "ray", options={"cost_ms": 20.0})
    with serving("--config", config, end=signal.SIGTERM) as (base, _):
        yield base, folder


def processes_called(word: str) -> list[psutil.Process]:
    """Processes below this one whose title holds a word, as Ray's actors have it."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if word in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def gcs_address() -> str:
    """Where the Ray below this process is reached."""
    command = processes_called("--gcs-address=")[0].cmdline()
    return next(word for word in command if word.startswith("--gcs-address=")).partition("=")[2]


@pytest.mark.ray
def test_a_ray_of_our_own_has_no_process_that_nobody_needs(on_ray) -> None:
    del on_ray
    assert processes_called("raylet")
    for word in ("log_monitor.py", "autoscaler/_private/monitor.py", "dashboard/dashboard.py"):
        assert not processes_called(word), word


@pytest.mark.ray
def test_on_ray_everything_is_answered_as_in_one_process(on_ray) -> None:
    base, _ = on_ray
    with Client(base) as plantain, client(base) as http:
        watched(base, "fixed", 3)
        objects, depth = plantain.predict(["instances:car", "depth"], image=jpeg()).frames[0].answers
        assert objects.num_objects
        assert all(found.distance_m is not None for found in objects.objects)
        assert depth.depth_median_m
        newest = plantain.query("fixed", ["instances:car"])
        assert newest.frames[0].stream_id == "fixed"
        assert plantain.draw("depth", "image/png", image=jpeg())[:4] == b"\x89PNG"
        added = plantain.add_stream(
            "more", "synthetic://street?seed=3&width=160&height=96", ["depth"], key="k"
        )
        assert (
            plantain.add_stream(
                "more", "synthetic://street?seed=3&width=160&height=96", ["depth"], key="k"
            ).id
            == added.id
        )
        assert plantain.change_stream("more", paused=True).paused
        assert plantain.remove_stream("more").id == "more"
        with pytest.raises(ServiceError) as refused:
            plantain.stream("more")
        assert refused.value.status == 404
        assert {"added", "live", "removed"} <= {event.kind for event in plantain.events()}
        assert 'stream="fixed"' in http.get("/metrics").text
        assert http.get("/").status_code == 200
        with http.stream("GET", "/v1/streams/fixed/live") as response:
            told = b""
            for chunk in response.iter_bytes():
                told += chunk
                if told.count(b"\xff\xd8\xff") >= 2:
                    break


@pytest.mark.ray
def test_on_ray_a_watch_tells_of_a_match(on_ray) -> None:
    base, _ = on_ray
    with Client(base) as plantain:
        watched(base, "fixed", 3)
        assert next(plantain.watch("fixed", ["instances:car"], every_s=0.2)).is_there


@contextmanager
def asking(base: str) -> Iterator[tuple[list[int], list[float]]]:
    """Three clients that ask all the time, and come back when they are told to: what they got, and after how long."""
    codes: list[int] = []
    waits_s: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        with client(base) as http:
            while not stop.is_set():
                begun = time.monotonic()
                try:
                    response = http.post(
                        "/v1/predict", files={"image": ("a", jpeg())}, data={"task": "depth"}
                    )
                except httpx.RemoteProtocolError:
                    continue  # killed between head and body of an answer, which no proxy can mend: ask again
                codes.append(response.status_code)
                waits_s.append(time.monotonic() - begun)
                if response.status_code == 503:
                    assert "Retry-After" in response.headers
                    time.sleep(0.2)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield codes, waits_s
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.ray
@pytest.mark.chaos
def test_on_ray_the_death_of_the_engine_costs_no_stream_and_no_query_hangs(on_ray) -> None:
    base, _ = on_ray
    with Client(base) as plantain:
        watched(base, "fixed", 3)
        plantain.add_stream(
            "street", "synthetic://street?seed=3&width=160&height=96&frames=9999", ["depth"], fps=1
        )
        (engine,) = processes_called("EngineActor")
        with asking(base) as (codes, waits_s):
            eventually(lambda: codes.count(200) >= 5, "answering")
            engine.kill()
            engine.wait()
            before = len(
                codes
            )  # queries in flight are told to come back; others may wait for the next engine
            eventually(lambda: codes[before:].count(200) >= 5, "answering again")
        assert set(codes) <= {200, 503}
        assert max(waits_s) < 45
        eventually(lambda: {stream.id for stream in plantain.streams()} == {"fixed", "street"}, "all streams")
        watched(base, "fixed", 3)
        plantain.remove_stream("street")


@pytest.mark.ray
@pytest.mark.chaos
def test_on_ray_the_death_of_an_http_replica_is_survived(on_ray) -> None:
    base, _ = on_ray
    with Client(base) as plantain:
        watched(base, "fixed", 1)
        results = plantain.stream("fixed").results
        with asking(base) as (codes, waits_s):
            eventually(lambda: codes.count(200) >= 5, "answering")
            (replica,) = processes_called("ServeReplica:plantain:http")
            replica.kill()
            eventually(lambda: 503 in codes, "saying so")
            before = len(codes)
            eventually(lambda: codes[before:].count(200) >= 5, "answering again")
        assert set(codes) == {200, 503}
        assert max(waits_s) < 45
        assert plantain.stream("fixed").results > results, "the engine went on meanwhile"


def is_alive(process: psutil.Process) -> bool:
    """Whether it still does anything."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.ray
@pytest.mark.chaos
def test_on_ray_the_proxy_ends_with_who_started_it_and_comes_back(on_ray) -> None:
    base, _ = on_ray
    (manager,) = processes_called("ray::HAProxyManager")
    proxies = manager.children()  # one that has just been replaced ends with its last connection
    assert proxies
    manager.kill()
    eventually(lambda: not any(map(is_alive, proxies)), "gone")
    with client(base) as http:

        def is_back() -> bool:
            try:
                return http.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False

        eventually(is_back, "answering again")


@pytest.mark.ray
def test_on_ray_the_proxy_is_kept_to_this_machine_and_this_user(on_ray) -> None:
    base, _ = on_ray

    def listening() -> psutil.Process | None:
        """The proxy, once one that it has replaced is gone."""
        found = processes_called("/haproxy.cfg")
        return found[0] if len(found) == 1 else None

    proxy = eventually(listening, "one proxy")
    heard = {found.laddr for found in proxy.net_connections("tcp") if found.status == "LISTEN"}
    assert {address.ip for address in heard} == {"127.0.0.1"}
    assert int(base.rpartition(":")[2]) in {address.port for address in heard}
    folder = Path(proxy.cmdline()[3]).parents[1]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def titled(pattern: str, but_for: Set[int] = frozenset()) -> bool:
    """Whether a process below this one, but for some, has such a title at this moment."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            title = next(iter(process.cmdline()), "")  # of one that has just ended there is none
            if process.pid not in but_for and re.fullmatch(pattern, title):
                return True
    return False


INTRUDE = """
import ray
ray.init(address=%r, log_to_driver=False)
print("in")
"""


@pytest.mark.ray
def test_on_ray_its_own_ports_ask_for_rays_token(on_ray) -> None:
    import grpc

    command = [sys.executable, "-c", INTRUDE % gcs_address()]
    intruders = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **given}
        )
        for given in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64})
    ]
    for intruder in intruders:
        said, complained = intruder.communicate(timeout=200)
        assert intruder.returncode != 0
        assert said == ""
        assert "auth" in complained.lower(), complained
    (replica,) = processes_called("ServeReplica:plantain:http")
    heard = {found.laddr for found in replica.net_connections("tcp") if found.status == "LISTEN"}
    ports = {
        address.port for address in heard if address.ip != "127.0.0.1"
    }  # the other is HTTP, with our token
    told = set()
    for port in ports:
        for method in ("/ray.serve.ASGIService/HandleRequest", "/ray.rpc.CoreWorkerService/PushTask"):
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as error:
                channel.unary_unary(method)(b"", timeout=20)
            told.add((method, error.value.code()))
    assert {code for _, code in told} == {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED}
    assert {method for method, code in told if code is grpc.StatusCode.UNAUTHENTICATED} == {
        m for m, _ in told
    }


UPDATE = """
import sys
from pathlib import Path
import ray
from ray import serve
from plantain.deploy.ray.service import APP, application
from plantain.pipeline.config import check, plain
ray.init(address=sys.argv[1], log_to_driver=False)
serve.run(application(check(plain(Path(sys.argv[2])))), name=APP, route_prefix="/")
"""


@pytest.mark.ray
@pytest.mark.chaos
def test_on_ray_a_rolling_update_costs_no_stream_and_no_query_hangs(on_ray, tmp_path, clip) -> None:
    base, folder = on_ray
    address = gcs_address()
    settings = yaml.safe_load(write_config(folder, clip, "ray", options={"cost_ms": 10.0}).read_text())
    settings |= {"prompts": ["depth"], "serve": {"port": 0, "replicas": 2}, "ray": {"stages": "actors"}}
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(settings))
    with Client(base) as plantain:
        watched(base, "fixed", 3)
        with asking(base) as (codes, waits_s):
            eventually(lambda: codes.count(200) >= 5, "answering")
            command = [sys.executable, "-c", UPDATE, address, str(changed)]
            named = {**os.environ, "RAY_AUTH_MODE": "token"}  # a Ray that was started here asks for its token
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=200, check=False, env=named
            )
            assert done.returncode == 0, done.stderr

            def is_updated() -> bool:
                try:
                    return plantain.stream("fixed").prompts == ["depth"]
                except ServiceError:
                    return False

            eventually(is_updated, "updated")
            before = len(codes)
            eventually(lambda: codes[before:].count(200) >= 5, "answering again")
        assert set(codes) <= {200, 503}
        assert max(waits_s) < 45
        watched(base, "fixed", 3)
        eventually(lambda: len(processes_called("ServeReplica:plantain:http")) == 2, "two replicas")
        reading = r"ray::read fixed \(live, \d+ fps\)"
        eventually(lambda: titled(reading), "a name for what is being done")
        busy = {each.pid for each in processes_called("ray::")}
        busy -= {each.pid for each in processes_called("ray::IDLE")}
        (engine,) = processes_called("EngineActor")
        engine.kill()
        engine.wait()
        eventually(lambda: titled(reading, busy), "stages in actors still, with nobody asking")
        watched(base, "fixed", 3)
        assert is_updated()


@pytest.mark.parametrize("executor", ["threads", "ray"])
def test_without_a_token_it_does_not_start_for_other_machines(tmp_path, clip, executor: str) -> None:
    config = write_config(tmp_path, clip, executor)
    assert "serve.token" in refused("--config", config, "--host", "0.0.0.0")


@pytest.mark.parametrize("executor", ["threads", "ray"])
def test_a_port_that_is_taken_is_named(tmp_path, clip, executor: str) -> None:
    config = write_config(tmp_path, clip, executor)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in refused("--config", config, "--port", port)
