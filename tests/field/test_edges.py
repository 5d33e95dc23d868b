"""Edges: configurations that cannot work are told before anything runs; nothing ends by what nobody can read."""

from __future__ import annotations

import errno
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from plantain.deploy.cli.app import app, main
from plantain.operators.arguments import arguments_of
from plantain.operators.errors import UsageError
from plantain.operators.models import BACKENDS
from plantain.operators.sinks.parquet.exchange import has_links
from plantain.operators.sinks.parquet.reading import read_frames
from plantain.pipeline.checking import check_run
from plantain.pipeline.config import check, load, stream_of
from tests.assets.clips import make
from tests.field.runs import run

ROOT = Path(__file__).parents[2]
CLIP = {"url": "a.mp4"}
CAMERA = "rtsp://cam.example/1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"output": {"sinks": ["parquett"]}}, "sink 'parquett' is unknown"),
        ({"output": {"sinks": ["parquet", "kafak"]}}, "sink 'kafak' is unknown"),
        ({"output": {"sinks": ["no.such:Sink"]}}, "sink 'no.such:Sink' cannot be imported"),
        ({"output": {"sinks": ["plantain.operators.sinks.memory:Memry"]}}, "Memry"),
        ({"streams": [{"url": CAMERA, "options": {"policy": "dorp"}}]}, "option policy is one of"),
        ({"streams": [{"url": CAMERA, "options": {"polcy": "latest"}}]}, "no option polcy"),
        ({"streams": [{"url": CAMERA, "options": {"ring": "0"}}]}, "ring is at least 1"),
        ({"streams": [{"url": CAMERA, "options": {"timeout_s": "inf"}}]}, "timeout_s is a number"),
        ({"streams": [{**CLIP, "options": {"treads": "2"}}]}, "no option treads"),
        ({"streams": [{**CLIP, "options": {"threads": "two"}}]}, "threads is a number"),
        ({"streams": [{**CLIP, "options": {"threads": "100000"}}]}, "threads is at most 256"),
        ({"streams": [{**CLIP, "options": {"threads": "-1"}}]}, "threads is at most 256"),
        ({"streams": [{"url": "synthetic://street?frames=-5"}]}, "frames is above 0"),
        ({"streams": [{"url": "synthetic://street?fps=0"}]}, "fps is above 0"),
        ({"streams": [{"url": "synthetic://street?frames=1e999999999"}]}, "frames is a number"),
        ({"streams": [{"url": "a.png", "options": {"fps": "-25"}}]}, "fps is above 0"),
        ({"streams": [{**CLIP, "options": {"deinterlace": "of"}}]}, "deinterlace is on or off"),
        ({"streams": [{"url": "a.png", "options": {"rate": "2"}}]}, "no option rate"),
        ({"streams": [{"url": "synthetic://street?sed=3"}]}, "sed is unknown"),
        ({"streams": [{"url": "synthetic://road?seed=3"}]}, "this place is unknown"),
        ({"streams": [{**CLIP, "source": "fil"}]}, "source 'fil' is unknown"),
        ({"streams": [{**CLIP, "source": "no.such:Source"}]}, "cannot be imported"),
        ({"streams": [{"url": "gopher://x"}]}, "no source reads gopher"),
        ({"model": {"name": "fakee"}}, "model 'fakee' is unknown"),
        ({"model": {"name": "fake", "options": {"sed": 3}}}, "model 'fake' has no option sed: it takes"),
        (
            {"model": {"name": "embedded", "options": {"weight": "x"}}},
            "model 'embedded' has no option weight",
        ),
        ({"models": {"a": {"name": "fake"}, "b": {"name": "sam2-video", "options": {"findr": 1}}}}, "findr"),
        ({"model": {"name": "fake", "options": {"cost_ms": "abc"}}}, "option cost_ms is a number, not 'abc'"),
        ({"model": {"name": "fake", "options": {"usd": [1]}}}, "option usd is a number, not [1]"),
        (
            {"model": {"name": "fake", "options": {"split": "tarin"}}},
            "split is train or heldout, not 'tarin'",
        ),
        ({"model": {"name": "embedded", "options": {"threads": 1.5}}}, "threads is a whole number, not 1.5"),
        ({"model": {"name": "sam2-video", "options": {"offline": "yes"}}}, "offline is true or false"),
        ({"model": {"name": "sam2-video", "options": {"device": ["cpu"]}}}, "device is a text"),
        ({"model": {"name": "transformers"}}, "model 'transformers' needs the option checkpoint"),
        ({"model": {"name": "zoedepth", "options": {"offline": 3}}}, "offline is true or false, not 3"),
        (
            {"model": {"name": "plantain.operators.models.fake:FakeModel", "options": {"cots_ms": 3}}},
            "has no option cots_ms",
        ),
        (
            {"prompts": ["generate:a cat"], "model": {"name": "fake"}},
            "fake has no answer to 'generate:a cat'",
        ),
        ({"prompts": ["instances:car"], "model": {"name": "moge-2"}}, "it answers depth, normals"),
        (
            {
                "prompts": ["depth", {"prompt": "ask:how many?", "model": "b"}],
                "models": {"a": {"name": "fake"}, "b": {"name": "clipseg"}},
            },
            "clipseg has no answer to 'ask:how many?'",
        ),
        ({"analytics": [{"name": "presence", "options": {"min_s": "abc"}}]}, "min_s is a number, not 'abc'"),
        ({"model": {"name": "router", "options": {"rout": {}}}}, "got an unexpected keyword argument 'rout'"),
        ({"analytics": ["presense"]}, "analytic 'presense' is unknown"),
        ({"analytics": [{"name": "presence", "options": {"mins": 3}}]}, "mins"),
        ({"analytics": ["no.such:Analytic"]}, "analytic 'no.such:Analytic' cannot be imported"),
        ({"analytics": ["plantain.operators.analytics.track:Trak"]}, "has no 'Trak'"),
        ({"streams": [{"url": "rtsp://"}]}, "its address names no host; write rtsp://HOST/PATH"),
        ({"streams": [{"url": "https:///a.mp4"}]}, "address names no host"),
        ({"streams": [{"url": CAMERA, "options": {"hosts": "a b/999"}}]}, "'b/999' is no host"),
        ({"streams": [{"url": "rtsp://h:99999/1"}]}, "its port is no number from 1 to 65535"),
        ({"streams": [{"url": "rtsp://h:abc/1"}]}, "its port is no number from 1 to 65535"),
        ({"streams": [{"url": "https://h:0/a.mp4"}]}, "its port is no number from 1 to 65535"),
        ({"streams": [{"url": "a.mp4", "options": {"stream": "-5"}}]}, "option stream is not negative"),
        ({"streams": [{"url": "a.mp4", "options": {"end_frame": "-1"}}]}, "option end_frame is not negative"),
        ({"streams": [{"url": CAMERA, "options": {"ring": "99999999999"}}]}, "option ring is at most 10000"),
        ({"streams": [{"url": "synthetic://street?split=tarin"}]}, "split is train or heldout, not 'tarin'"),
        ({"streams": [{"url": "synthetic://street?width=1000000"}]}, "width is at most 8192"),
        (
            {"streams": [{"url": "synthetic://street", "options": {"height": "9000"}}]},
            "height is at most 8192",
        ),
        ({"executor": "ray", "ray": {"address": "foo bar"}}, "'foo bar' is no address of a Ray cluster"),
        ({"ray": {"address": "head:99999"}}, "is no address of a Ray cluster"),
        ({"output": {"spool": {"folder": "s3://x/y"}}}, "a folder on a local disk, not s3://x/y"),
        ({"read": {"chunk_frames": 100, "max_frames_in_flight": 50}}, "read: chunk_frames is at most"),
        ({"output": {"out": "ftp://b/x"}}, "nothing is stored at ftp://b/x"),
        ({"output": {"out": "s3a://b/x"}}, "name a folder, or s3://"),
        (
            {"output": {"out": "s3://b/x", "sinks": ["parquet", "overlay"]}},
            "need a local folder, not s3://b/x",
        ),
        ({"output": {"kafka": {"bootstrap": "a:9092, b:x"}}}, "'b:x' is no host:port"),
        ({"output": {"kafka": {"bootstrap": "a:99999"}}}, "'a:99999' is no host:port"),
        ({"serve": {"hosts": ["a b/999"]}}, "serve.hosts.0: 'a b/999' is no host"),
        ({"serve": {"hosts": ["10.0.0.0/99"]}}, "'10.0.0.0/99' is no host"),
        ({"serve": {"hosts": ["300.1.2.3"]}}, "'300.1.2.3' is no host"),
    ],
)
def test_a_name_or_an_option_that_is_not_there_is_told_without_opening_anything(
    settings: dict, said: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        check_run(check({"streams": [CLIP], "prompts": ["depth"], **settings}))
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    "settings",
    [
        {
            "output": {
                "out": "abfs://b/x",
                "kafka": {"bootstrap": "a:1, plain, [::1]:9092,SSL://b-1.example:65535"},
            }
        },
        {"output": {"out": "file:///tmp/x", "sinks": ["overlay"]}},
        {"streams": [{"url": "udp://:5000"}, {"url": "rtsp://[::1]/a"}, {"url": "http://h/a.mp4"}]},
        {"ray": {"address": "ray://head:10001"}},
        {"ray": {"address": "auto"}},
        {"ray": {"address": "[::1]:6379"}},
        {"output": {"spool": {"folder": "file:///var/spool/plantain"}}},
        {"streams": [{"url": "rtsp://h:65535/1"}, {"url": "synthetic://street?width=8192&split=heldout"}]},
        {"serve": {"hosts": ["*.example.org", "cam_1", "10.1.0.0/16", "::1", "2001:db8::/32", "*"]}},
        {"analytics": ["plantain.operators.analytics.track:Track"]},
        {"model": {"name": "fake", "options": {"cost_ms": 3, "usd": 0.5, "assets": 2026}}},
        {"model": {"name": "zoedepth", "options": {"revision": 1234567}}},
        {
            "model": {"name": "tests.plugins:PickyModel"},
            "prompts": ["generate:whatever a model of one's own can"],
        },
    ],
)
def test_what_is_written_well_is_not_refused(settings: dict) -> None:
    check_run(check({"streams": [CLIP], "prompts": ["depth"], **settings}))


@pytest.mark.parametrize("name", ["fake", "fake-video", "embedded", "klein", "sam2-video", "sam3"])
def test_the_options_that_are_read_from_the_source_are_those_of_the_class(name: str) -> None:
    spec = BACKENDS[name]
    known = arguments_of(spec.target)
    if any(importlib.util.find_spec(module) is None for module in spec.needs):
        return
    module, _, attribute = spec.target.partition(":")
    taken = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
    named = {
        option: each
        for option, each in taken.items()
        if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    }
    assert known is not None
    assert known.takes_more == (len(named) < len(taken))
    assert {option: each.is_needed for option, each in known.known.items()} == {
        option: each.default is each.empty for option, each in named.items()
    }


def test_nothing_that_computes_is_loaded_to_look_at_options() -> None:
    code = (
        "import sys; from plantain.operators.models import BACKENDS, check_model\n"
        "for name in BACKENDS:\n"
        "    try: check_model(name, {'no such option': 1})\n"
        "    except Exception: pass\n"
        "print({'torch', 'transformers', 'diffusers', 'ray'} & {*sys.modules})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "settings",
    [
        {"output": {"kafka": {"bootstrap": "guard:hunter2@broker:9092"}}},
        {"streams": [{"url": "a.mp4", "id": "rtsp://guard:hunter2@cam/1"}]},
        {"output": {"spool": {"folder": "s3://guard:hunter2@bucket/x"}}},
        {"executor": "ray", "ray": {"address": "ray://guard:hunter2@head"}},
    ],
)
def test_a_mistake_is_told_without_its_secret(settings: dict) -> None:
    with pytest.raises(UsageError) as refusal:
        check({"streams": [CLIP], "prompts": ["depth"], **settings})
    assert "hunter2" not in str(refusal.value)


def test_all_mistakes_are_told_at_once() -> None:
    streams = [{"url": f"{number}.mp4", "options": {"treads": "2"}} for number in range(3)]
    config = check(
        {
            "streams": streams,
            "prompts": ["depth"],
            "output": {"sinks": ["parquett"]},
            "model": {"name": "fakee"},
        }
    )
    with pytest.raises(UsageError) as refusal:
        check_run(config)
    assert len(str(refusal.value).splitlines()) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prompts: [depth]\nprompts: [normals]\nstreams: [{url: a.mp4}]", "prompts is said twice"),
        ("prompts: [depth]\nstreams: [{url: a.mp4, fps: 1, fps: 2}]", "fps is said twice"),
        (
            "x: &x {a: 1}\noutput: {<<: *x, <<: *x}\nprompts: [depth]\nstreams: [{url: a.mp4}]",
            "<< is said twice",
        ),
        (
            "prompts: [depth]\nstreams: [{url: a.mp4, fps: .inf}]",
            "streams.0.fps: Input should be a finite number",
        ),
        ("prompts: [depth]\nstreams: [{url: a.mp4}]\noverload: {max_age_s: .nan}", "overload.max_age_s"),
        ("prompts: [depth]\nstreams: [{url: a.mp4}]\noutput: {segment_s: 1e999}", "output.segment_s"),
        ("streams: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a: " + "{b: " * 2000 + "1" + "}" * 2000, "nested too deeply"),
        ("? [a, b]\n: 1", "a name is a word"),
        (
            "prompts: [depth]\nstreams: [{url: a.mp4, max_frames: " + "9" * 5000 + "}]",
            "holds a value that is none",
        ),
        ("prompts: [depth]\nstreams: [{url: a.mp4, id: 2026-13-45}]", "holds a value that is none"),
        ('prompts: [depth]\nstreams: [{url: "a\\0.mp4"}]', "streams.0.url: holds a character"),
        ('prompts: ["semantic:c\\0ar"]\nstreams: [{url: a.mp4}]', "prompts.0: holds a character"),
        ('prompts: [depth]\nstreams: [{url: a.mp4}]\noutput: {out: "o\\0"}', "output.out: holds a character"),
        ("prompts: [depth]\nstreams: [{url: 'rtsp://[::1/x'}]", "streams.0.url: Invalid IPv6 URL"),
        ("prompts: [depth]\nstreams: [{url: 'file://[x/y.mp4'}]", "streams.0.url: Invalid IPv6 URL"),
        (
            "prompts: [depth]\nstreams: [{url: a.mp4}]\nanalytics: [{name: presence, options: {min_s: .nan}}]",
            "analytics.0.options.min_s: Input should be a finite number",
        ),
        (
            "prompts: [depth]\nstreams: [{url: a.mp4}]\nmodel: {name: fake, options: {a: [-.inf]}}",
            "options.a.0",
        ),
        ("prompts: [depth]\nstreams: [{url: a.mp4}]\noutput: {out: ''}", "output.out"),
        ("prompts: [depth]\nstreams: [{url: a.mp4}]\noutput: {sinks: []}", "output.sinks"),
        ("prompts: [depth]\nstreams: [{url: a.mp4}]\noutput: {sinks: [parquet, parquet]}", "named twice"),
        (
            "&a\nprompts: [depth]\nstreams: [{url: a.mp4}]\nmodel: {name: fake, options: *a}\noutput: *a",
            "output.",
        ),
    ],
)
def test_yaml_that_says_too_much_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as refusal:
        load(file)
    assert said in str(refusal.value)


@pytest.mark.parametrize("name", ["gate\n", "gate\r", "\ngate", "gate ", "ga\nte", "gate\x00", "gate\u2028"])
def test_a_name_of_a_stream_is_one_word(name: str) -> None:
    with pytest.raises(UsageError, match=r"must start with a letter|holds a character"):
        stream_of({"url": "a.mp4", "id": name})


@pytest.mark.parametrize("how", ["2>&-", ">/dev/full", "2>/dev/full >&-"])
def test_what_is_stored_does_not_depend_on_who_can_be_told(tmp_path: Path, how: str) -> None:
    clip = make(tmp_path / "c.mp4", 3, size=(64, 48))
    command = (
        f"{sys.executable} -m plantain.deploy.cli run {clip} --task depth --model fake --executor inline "
        f"--out {tmp_path / 'out'} {how}"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    assert subprocess.run(["bash", "-c", command], env=environment, check=False).returncode == 0
    assert len(read_frames(tmp_path / "out")["frame_index"]) == 3


def test_a_run_needs_nothing_of_its_surroundings(tmp_path: Path) -> None:
    clip = make(tmp_path / "c.mp4", 3, size=(64, 48))
    deep = tmp_path.joinpath(*["d" * 60] * 3)
    deep.mkdir(parents=True)
    command = (
        f"ulimit -n 40; {sys.executable} -m plantain.deploy.cli run {clip} --task depth --model fake "
        f"--out {tmp_path / 'out'} <&-"
    )
    bare = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "RAY_ADDRESS": "127.0.0.1:1",
        "TMPDIR": str(deep),
        "TERM": "nonsense",
    }
    done = subprocess.run(["bash", "-c", command], env=bare, capture_output=True, text=True, check=False)
    assert (done.returncode, "3 frames of 1 stream" in done.stdout) == (0, True), done.stderr


@pytest.mark.skipif(
    not shutil.which("unshare")
    or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode != 0,
    reason="needs a mount namespace of its own",
)
def test_a_folder_that_is_no_longer_there_is_no_matter(tmp_path: Path) -> None:
    (gone := tmp_path / "gone").mkdir()
    words = f"rmdir {gone} && exec {sys.executable} -m plantain.deploy.cli --version"
    done = subprocess.run(["sh", "-c", words], cwd=gone, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_but_the_output_folder_needs_to_be_writable(tmp_path: Path) -> None:
    clip, out = make(tmp_path / "c.mp4", 3, size=(64, 48)), tmp_path / "out"
    out.mkdir()
    look = (
        "import tempfile\n"
        "from plantain import read_frames\n"
        "from plantain.deploy.standard import ensure_temporary\n"
        f"ensure_temporary('{out}')\n"
        f"print(len(read_frames('{out}')['frame_index']), tempfile.mkdtemp())"
    )
    command = (
        f"mount -t tmpfs volume {out} && mount -t tmpfs -o ro shm /dev/shm && mount -o remount,bind,ro / && cd / && "
        f"! touch /tmp/x {tmp_path}/x 2>&- && {sys.executable} -m plantain.deploy.cli run {clip} --task depth "
        f'--model fake --executor threads --out {out} && {sys.executable} -c "{look}"'
    )
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HOME": "/"}
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", command], env=bare, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"3 {out}/.plantain/temporary/")


def begun(limit: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    """A command under a limit of descriptors."""
    command = f"ulimit {limit}; exec {sys.executable} {' '.join(words)}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_as_many_descriptors_are_taken_as_there_may_be() -> None:
    said = begun("-Sn 64", ["-c", '"from plantain.deploy import standard as s; print(s.descriptors())"'])
    assert int(said.stdout) > 64, said.stderr


@pytest.mark.parametrize("words", [["run", "--executor", "threads"], ["run", "--executor", "inline"]])
def test_more_cameras_than_descriptors_are_one_sentence(tmp_path: Path, words: list[str]) -> None:
    config = tmp_path / "cameras.yaml"
    addresses = "".join(f"  - {{url: 'rtsp://127.0.0.1:1/{number}'}}\n" for number in range(1000))
    config.write_text(f"streams:\n{addresses}prompts: [depth]\nmodel: {{name: fake}}\n")
    done = begun(
        "-n 1024",
        ["-m", "plantain.deploy.cli", *words, "--config", str(config), "--out", str(tmp_path / "o")],
    )
    assert done.returncode == 2
    *starting, said = done.stderr.strip().splitlines()
    assert said.startswith(
        "1,000 cameras need some 1,128 file descriptors, and this process may have 1,024: raise"
    )
    assert all('"starting"' in line for line in starting)


def test_help_and_version_are_where_people_look(capsys) -> None:
    for words in (["--version"], ["-h"], ["run", "-h"], ["streams", "list", "-h"]):
        with pytest.raises(SystemExit) as ended:
            app(words)
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert "\\b" not in said
        assert said.strip()


@pytest.mark.parametrize("sinks", [["parquet"], ["parquet", "overlay"]])
def test_names_of_files_need_not_be_utf_8(tmp_path: Path, sinks: list[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9 \xff.mp4"))
    make(folder / "a.mp4", 3, size=(64, 48)).rename(odd)
    make(folder / "b.mp4", 3, size=(64, 48))
    outcome = run([folder], tmp_path / "out", output={"sinks": sinks})
    assert outcome.exit_code == 0
    found = read_frames(tmp_path / "out", ["stream_id", "source"])
    assert sorted({*found["source"].tolist()}) == [str(folder / "b.mp4"), f"{folder}/caf\\xe9 \\xff.mp4"]
    assert run([folder], tmp_path / "out", output={"sinks": sinks}).exit_code == 0, "it knows what is done"
    assert run([odd], tmp_path / "alone", output={"sinks": sinks}).exit_code == 0, "as it is typed"
    with pytest.raises(UsageError, match=r"output\.out: is not UTF-8"):
        run([folder], odd.with_suffix(".out"))


def test_names_of_stills_need_not_be_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("RGB", (64, 48)).save(folder / "a.png")
    (folder / "a.png").rename(os.fsdecode(os.fsencode(folder) + b"/\xe9.png"))
    assert run([folder], tmp_path / "out").exit_code == 0
    assert read_frames(tmp_path / "out", ["image"])["image"].tolist() == ["\\xe9.png"]


@pytest.mark.parametrize("words", [["tidy"], ["report"]])
def test_a_folder_that_nobody_can_write_to_is_one_sentence(tmp_path, monkeypatch, capsys, words) -> None:
    clip = make(tmp_path / "c.mp4", 3, size=(64, 48))
    run([clip], tmp_path / "out")
    refusal = OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / "out" / "x"))

    def refused(*_args: object, **_given: object) -> None:
        raise refusal

    for name in ("write_bytes", "write_text", "touch", "open"):
        monkeypatch.setattr(Path, name, refused)
    has_links.cache_clear()
    monkeypatch.setattr(sys, "argv", ["plantain", *words, str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if str(tmp_path) in line]) == 1
    assert "Traceback" not in "".join(said)
