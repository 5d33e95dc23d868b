"""One file has many spellings: what is named otherwise than before is the same, and keeps its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plantain.deploy.job import named_as_before
from plantain.operators.errors import UsageError
from plantain.operators.sources import expand
from plantain.pipeline.config import check
from plantain.pipeline.config.stream import mark_of
from tests.field.films import film, still
from tests.field.runs import indices, rows, run


def _spellings(clip: Path) -> list[str]:
    """A file as it can be named from the folder above its own, and from its own."""
    here, name = clip.parent.name, clip.name
    link = clip.parent.parent / "link"
    if not link.is_symlink():
        link.symlink_to(clip.parent)
    return [f"{here}/{name}", str(clip), f"./{here}/../{here}//{name}", f"link/{name}", clip.as_uri()]


@pytest.mark.parametrize("first", range(5))
def test_a_file_is_the_same_however_it_is_spelled(
    tmp_path: Path, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, out = film(tmp_path / "in" / "a b.ts", 6), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    spellings = _spellings(clip)
    for spelling in (spellings[first], *spellings):
        assert run([spelling], out).exit_code == 0
    monkeypatch.chdir(clip.parent)
    for spelling in (clip.name, f"../in/{clip.name}", "../link/*.ts", "."):
        assert run([spelling], out).exit_code == 0
    assert len(rows(out)) == 6
    assert len({row[0] for row in rows(out)}) == 1


def test_folders_are_the_same_however_they_are_spelled_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, stills, out = tmp_path / "in", tmp_path / "stills", tmp_path / "out"
    film(folder / "a.ts", 6)
    film(folder / "deep" / "b.ts", 7)
    still(stills / "1.png", 1)
    monkeypatch.chdir(tmp_path)
    run(["in", "stills"], out)
    film(folder / "c.ts", 8)
    still(stills / "2.png", 2)
    run([folder, stills], out)
    monkeypatch.chdir(folder)
    run([".", "../stills/"], out)
    assert [len(indices(out, name)) for name in ("a", "b", "c", "stills")] == [6, 7, 8, 2]
    assert len(rows(out)) == 23


def test_one_file_that_is_spelled_twice_in_a_command_is_listed_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(tmp_path / "in" / "a.ts", 6)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="two streams are called a: give them an id"):
        run(["in/a.ts", "./in/a.ts"], tmp_path / "out")
    assert [spec.url for spec in expand(["in/a.ts", "./in/a.ts", str(tmp_path / "in")])] == ["in/a.ts"]
    named = [{"url": "in/a.ts", "id": "one"}, {"url": "./in/a.ts", "id": "two", "prompts": ["depth"]}]
    assert run(named, tmp_path / "out").exit_code == 0
    named[0]["url"], named[1]["url"] = str(tmp_path / "in/a.ts"), "in/a.ts"
    assert run(named, tmp_path / "out").exit_code == 0, "each goes on"


def test_other_options_and_other_links_are_other_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, out = film(tmp_path / "in" / "a.ts", 6), tmp_path / "out"
    (tmp_path / "in" / "newest.ts").symlink_to("a.ts")
    monkeypatch.chdir(tmp_path)
    run(["in/a.ts", "in/newest.ts"], out)
    assert {row[0] for row in rows(out)} == {"a", "newest"}
    run([{"url": str(clip), "options": {"deinterlace": "off"}}], out)
    assert len(rows(out)) == 18
    film(tmp_path / "in" / "b.ts", 9, first=3, codec="mpeg4")
    (tmp_path / "in" / "newest.ts").unlink()
    (tmp_path / "in" / "newest.ts").symlink_to("b.ts")
    with pytest.raises(UsageError, match=r"newest.*--replace"):
        run([tmp_path / "in" / "newest.ts"], out)


def test_what_an_older_version_noted_keeps_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It noted only how paths were spelled, so that one file may have several names."""
    clip, out = film(tmp_path / "in" / "a.ts", 6), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    run(["in/a.ts"], out)
    noted = out / ".plantain" / "run.json"
    held = json.loads(noted.read_bytes())
    del held["locations"]
    url, prompts, sampling, _ = held["streams"]["a"]
    digest = mark_of(str(clip), {})[1]
    held["streams"]["in-a"] = [str(clip), prompts, sampling, digest]
    noted.write_text(json.dumps(held))
    assert pinned_names(out, "in/a.ts") == ["a"]
    assert pinned_names(out, str(clip)) == ["in-a"]
    assert pinned_names(out, "in/a.ts", str(clip)) == ["a", "in-a"]
    assert pinned_names(out, "./in/../in/a.ts") == ["a"]
    assert url == "in/a.ts"
    assert run(["./in/../in/a.ts"], out).exit_code == 0
    assert len(rows(out)) == 6
    monkeypatch.chdir(clip.parent)
    assert pinned_names(out, "a.ts") == ["a"]


def pinned_names(out: Path, *urls: str) -> list[str]:
    """Names of inputs in an output folder."""
    config = check(
        {
            "streams": [{"url": url} for url in urls],
            "prompts": ["semantic:car"],
            "output": {"out": str(out)},
        }
    )
    return [str(stream.id) for stream in named_as_before(config).streams]
