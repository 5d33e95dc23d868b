"""What is installed: one import name, the same from a wheel and an sdist, beside whatever a user's folder holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import textwrap
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.assets import clips

ROOT = Path(__file__).parents[2]
BUILD = "import setuptools.build_meta as b, sys; print(b.{}(sys.argv[1]))"


def build(what: str, source: Path, target: Path) -> Path:
    """A wheel or sdist as pip would have it made, without the network."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(what), target],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is, or is about to be, in the repository."""
    source = tmp_path_factory.mktemp("tree")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    tops = (
        "src",
        "operators",
        "pipeline",
        "deploy",
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
    )
    for name in listed:
        if name.partition("/")[0] in tops and (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    return source


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("build_wheel", tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("build_sdist", tree, tmp_path_factory.mktemp("sdist"))


@dataclass
class Home:
    """An environment with the wheel, which borrows only the dependencies of this one."""

    folder: Path

    @property
    def libraries(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def run(self, at: Path, command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "bin" / command, *arguments],
            cwd=at,
            env={"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("home") / "venv"
    venv.create(folder, with_pip=False)
    made = Home(folder)
    (made.libraries / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    install = ["-m", "pip", "--python", str(folder), "install", "--quiet", "--no-deps", "--ignore-installed"]
    subprocess.run([sys.executable, *install, str(wheel)], check=True, timeout=200)
    return made


def tops_of(names: list[str]) -> set[str]:
    return {name.partition("/")[0] for name in names}


@pytest.mark.timeout(280)
def test_a_wheel_holds_one_import_name_and_everything_that_the_tree_has_of_it(
    wheel: Path, tree: Path
) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {top for top in tops_of(names) if not top.endswith(".dist-info")} == {"plantain"}
    (info,) = {top for top in tops_of(names) if top.endswith(".dist-info")}
    top_level = zipfile.ZipFile(wheel).read(f"{info}/top_level.txt").decode()
    assert top_level.split() == ["plantain"]
    modules = {
        f"plantain/{path.relative_to(tree)}"
        for top in ("operators", "pipeline", "deploy")
        for path in (tree / top).rglob("*.py")
    }
    assert modules <= set(names)
    assert {"plantain/__init__.py", "plantain/py.typed"} <= set(names)


@pytest.mark.timeout(280)
def test_an_sdist_holds_one_import_name_and_makes_the_same_wheel(
    sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    packages = {path.name for path in (unpacked / "src").iterdir() if not path.name.endswith(".egg-info")}
    assert packages == {"plantain"}
    assert not [path for path in unpacked.iterdir() if path.name in ("operators", "pipeline", "deploy")]
    again = zipfile.ZipFile(build("build_wheel", unpacked, tmp_path))
    first = zipfile.ZipFile(wheel)
    contents = [
        {each.filename: each.CRC for each in made.infolist() if not each.filename.endswith("/RECORD")}
        for made in (first, again)
    ]
    assert contents[0] == contents[1]


@pytest.mark.timeout(280)
def test_installed_as_in_the_image_the_command_has_all_that_it_needs(
    home: Home, tree: Path, tmp_path: Path
) -> None:
    probe = (
        "import plantain.deploy as d, plantain.operators.models.plantain as m; print(d.__file__, m.__file__)"
    )
    said = home.run(tmp_path, "python", "-c", probe)
    assert said.stdout.count(str(home.folder)) == 2, "it is this tree's"
    package = home.libraries / "plantain"
    assert (package / "operators" / "models" / "plantain" / "weights.safetensors").stat().st_size > 1 << 20
    data = [
        path.relative_to(tree)
        for top in ("deploy/service/web", "deploy/configs")
        for path in (tree / top).rglob("*.*")
    ]
    assert data
    assert all((package / path).is_file() for path in data)
    clip = clips.make(tmp_path / "clip.mp4", 4)
    done = home.run(tmp_path, "plantain", "run", clip, "--task", "depth", "--model", "fake")
    assert done.returncode == 0, done.stderr
    assert "4 frames of 1 stream answered" in done.stdout


# -- a user's folder -----------------------------------------------------------------------------------------

THEIRS = """
from plantain.operators.analytics.base import Stateless
from plantain.operators.models.fake import FakeModel
from plantain.operators.sinks.memory import MemorySink
from plantain.operators.sources.synthetic import SyntheticSource
from dataclasses import replace

import operators
import pipeline.steps


class Model(FakeModel):
    name = "theirs"


class Source(SyntheticSource):
    def __init__(self, spec, view, position):
        super().__init__(replace(spec, url="synthetic://street?seed=1&frames=3&width=64&height=48"), view, position)


class Sink(MemorySink):
    def __init__(self, url, run_id):
        super().__init__()

    def finish(self, stream_id):
        print(operators.WHOSE, pipeline.steps.WHOSE, len(self.rows("frames")), len(self.rows("events")), flush=True)


class Analytic(Stateless):
    def step(self, result):
        from plantain.operators.types import Event

        now = result.moment
        return result, [Event("seen", "theirs", result.header.stream_id, now, None, now)]
"""
CONFIG = """
streams: [{{url: "theirs://x", id: x, source: "theirs:Source"}}]
prompts: [depth]
model: {{name: "theirs:Model", canvas: {{width: 64, height: 48}}}}
analytics: ["theirs:Analytic"]
output: {{out: out-{executor}, sinks: ["theirs:Sink", parquet]}}
executor: {executor}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What somebody else's project holds under our folders' names."""
    for name in ("pipeline", "deploy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "pipeline" / "steps.py").write_text("WHOSE = 'mine'\n", encoding="utf-8")
    (tmp_path / "deploy" / "cli.py").write_text("raise RuntimeError('not for you')\n", encoding="utf-8")
    (tmp_path / "operators.py").write_text("WHOSE = 'mine'\n", encoding="utf-8")
    (tmp_path / "theirs.py").write_text(THEIRS, encoding="utf-8")
    return tmp_path


@pytest.mark.timeout(280)
def test_a_users_own_modules_of_the_same_names_are_theirs(home: Home, folder: Path) -> None:
    said = home.run(
        folder,
        "python",
        "-c",
        textwrap.dedent("""
            import plantain, operators, pipeline.steps, deploy
            print(operators.WHOSE, pipeline.steps.WHOSE, deploy.__file__)
            print([getattr(plantain, name).__module__ for name in plantain.__all__])
        """),
    )
    assert said.returncode == 0, said.stderr
    first, second = said.stdout.splitlines()
    assert first == f"mine mine {folder / 'deploy' / '__init__.py'}"
    assert second.count("'plantain.") == len(second.split(","))


@pytest.mark.timeout(280)
@pytest.mark.parametrize("executor", ["threads", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_source_a_model_an_analytic_and_a_sink_of_a_users_folder_work_from_there(
    home: Home, folder: Path, executor: str
) -> None:
    (folder / "config.yaml").write_text(CONFIG.format(executor=executor), encoding="utf-8")
    done = home.run(folder, "plantain", "run", "--config", "config.yaml")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "3 frames of 1 stream answered" in done.stdout
    counted = home.run(
        folder,
        "python",
        "-c",
        "import plantain, sys\n"
        "root = sys.argv[1]\n"
        "print(set(plantain.read_frames(root, ['model'])['model']), len(plantain.read_events(root)['kind']))",
        f"out-{executor}",
    )
    assert counted.stdout.strip() == "{'theirs'} 3", counted.stderr
    if executor == "threads":
        assert "mine mine 3 3" in done.stdout + done.stderr
