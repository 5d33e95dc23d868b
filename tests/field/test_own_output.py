"""Output is no input: folders that hold both, and output folders as inputs of other runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.field.films import film
from tests.field.runs import rows, run


def test_output_inside_the_input_is_no_input(tmp_path: Path) -> None:
    for name in ("a.ts", "deep/b.ts"):
        film(tmp_path / name, 6)
    out = tmp_path / "out"
    for inputs in ([tmp_path], [tmp_path], [str(tmp_path / "**" / "*")], [tmp_path]):
        outcome = run(inputs, out, output={"sinks": ["parquet", "overlay"]})
        assert outcome.exit_code == 0
        assert sorted(stream.stream_id for stream in outcome.streams) == ["a", "b"]
    assert len(rows(out)) == 12


@pytest.mark.parametrize("inputs", [["."], ["*/*.*"], ["**/*"], ["{here}"], ["{here}/*/*"]])
def test_output_in_the_place_of_the_input_is_no_input(
    tmp_path: Path, inputs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in an output folder beside what we wrote was there before."""
    monkeypatch.chdir(tmp_path)
    for name in ("sub/a.ts", "deep/b.ts"):
        film(tmp_path / name, 6)
    named = [each.format(here=tmp_path) for each in inputs]
    out = Path() if "{here}" not in inputs[0] else tmp_path
    for _ in range(3):
        outcome = run(named, out, output={"sinks": ["parquet", "overlay"]})
        assert outcome.exit_code == 0
        assert sorted(stream.stream_id for stream in outcome.streams) == ["a", "b"]
    assert len(rows(out)) == 12
    assert sorted(path.name for path in (tmp_path / "overlay").iterdir()) == ["a.mp4", "b.mp4"]


def test_an_output_folder_as_the_input_of_another_run_gives_what_we_did_not_write(tmp_path: Path) -> None:
    first, second = tmp_path / "par", tmp_path / "par2"
    film(first / "a.ts", 6)
    run([first], first, output={"sinks": ["parquet", "overlay"]})
    for inputs in ([first], [f"{first}/**/*"]):
        outcome = run(inputs, second)
        assert [stream.stream_id for stream in outcome.streams] == ["a"]
    outcome = run([first / "overlay"], tmp_path / "named")
    assert [stream.stream_id for stream in outcome.streams] == ["a"], "what is named is meant"
    assert len(rows(tmp_path / "named")) == 6
