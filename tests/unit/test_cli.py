"""The command line: exit codes, what is written where, and one sentence for each mistake."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from plantain.operators.sinks.parquet.sink import ParquetSink
from tests.answered import Answer
from tests.assets.clips import cut_off, hole, make, sound
from tests.stored import rows_in

FRAMES = 12
PICKY = "tests.plugins:PickyModel"


def said(answer: Answer) -> list[str]:
    """What the command told of its streams: off a terminal, a JSON object a line."""
    told = [json.loads(line) for line in answer.err.splitlines()]
    return [f"{line['stream']}: {line['event']}, {line['answered']}" for line in told if "answered" in line]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("clips") / "good.mp4", FRAMES, size=(64, 48))


@pytest.fixture
def run(plantain, tmp_path):
    """`plantain run` with what every test here needs."""

    def call(*arguments: str | Path, task: str = "depth") -> Answer:
        common = ["--task", task, "--model", PICKY, "--out", tmp_path / "out"]
        return plantain("run", *arguments, *common)

    return call


def test_a_good_run_ends_with_0_and_says_where_the_results_are(run, clip, tmp_path):
    answer = run(clip, "--executor", "inline")
    assert answer.code == 0
    assert f"{FRAMES} frames of 1 stream answered" in answer.out
    assert f"results in {tmp_path / 'out'}" in answer.out
    assert said(answer) == [f"good: done, {FRAMES}"]
    assert json.loads(answer.err.splitlines()[0])["event"] == "starting"


@pytest.mark.parametrize(
    ("num_good", "num_bad", "said"),
    [
        (1, 2, "12 frames of 1 stream answered"),
        (2, 1, "24 frames of 2 streams"),
        (0, 2, "no frame was answered in"),
        (0, 1, "no frame was answered in"),
    ],
)
def test_streams_that_failed_are_not_said_to_be_answered(run, clip, tmp_path, num_good, num_bad, said):
    good = [tmp_path / f"good{number}.mp4" for number in range(num_good)]
    bad = [tmp_path / f"bad{number}.mp4" for number in range(num_bad)]
    for path in good:
        path.write_bytes(clip.read_bytes())
    for path in bad:
        path.write_bytes(b"no video")
    answer = run(*good, *bad, "--executor", "inline")
    assert answer.code == 1
    assert answer.out.startswith(said)
    assert f" s; {num_bad} stream{'s' if num_bad > 1 else ''} failed" in answer.out
    assert ("results in" in answer.out) == bool(num_good), "there are none"


def test_json_is_one_object_on_stdout(run, clip):
    answer = run(clip, "--json")
    report = json.loads(answer.out)
    assert report["streams"] == [
        {
            "stream_id": "good",
            "status": "done",
            "error": None,
            "decoded": FRAMES,
            "results": FRAMES,
            "failed": {},
            "lost": {},
            "skipped": {},
            "damaged_packets": 0,
            "unread_bytes": 0,
            "cost_usd": 0.0,
            "prompts": {
                "depth": {"decoded": FRAMES, "results": FRAMES, "failed": {}, "lost": {}, "skipped": {}}
            },
        }
    ]


def test_a_second_run_has_nothing_to_do_and_changes_nothing(run, clip, tmp_path):
    assert run(clip).code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    answer = run(clip, "--json")
    assert answer.code == 0
    assert json.loads(answer.out)["streams"][0]["results"] == FRAMES
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")} == before


def test_results_of_other_settings_are_not_mixed(run, clip):
    assert run(clip).code == 0
    answer = run(clip, task="normals")
    assert answer.code == 2
    assert (
        "holds results of a run with other settings (prompts, streams.good): choose another --out, or --no-resume"
        in answer.err
    )


def test_no_resume_replaces_everything_also_streams_that_are_not_there_any_more(run, clip, tmp_path):
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    assert run(other).code == 0
    assert run(clip, "--no-resume", task="normals").code == 0
    rows = rows_in(tmp_path / "out")["frames"]
    assert {(row["stream_id"], row["prompt"]) for row in rows} == {("good", "normals")}
    assert len(rows) == FRAMES


def test_other_settings_are_fine_as_long_as_nothing_is_stored(plantain, clip, tmp_path):
    arguments = ["run", clip, "--task", "depth", "--out", tmp_path / "out", "--model"]
    assert plantain(*arguments, "tests.plugins:NoSuchModel").code == 2
    assert plantain(*arguments, PICKY).code == 0


def test_passwords_are_written_nowhere(run, tmp_path):
    answer = run("http://user:s3cret@127.0.0.1:9/a.mp4?token=t0ken")
    assert answer.code == 1
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in ("s3cret", "t0ken"):
        assert secret not in answer.out + answer.err
        assert secret.encode() not in stored


# -- bad streams: code 1, and the others are finished ------------------------------------------------------


def missing(folder: Path, clip: Path) -> Path:
    return folder / "missing.mp4"


def empty(folder: Path, clip: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def text(folder: Path, clip: Path) -> Path:
    (folder / "text.mp4").write_text("Dear diary,\n" * 100)
    return folder / "text.mp4"


def headless(folder: Path, clip: Path) -> Path:
    return cut_off(clip, folder / "headless.mp4", 0.5)  # the index is at the end


def audio_only(folder: Path, clip: Path) -> Path:
    return sound(folder / "audio.wav")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (missing, "missing.mp4"),
        (empty, "empty.mp4"),
        (text, "text.mp4"),
        (headless, "headless.mp4"),
        (audio_only, "audio.wav"),
    ],
)
def test_a_bad_file_is_named_in_one_sentence_and_the_others_are_finished(run, clip, tmp_path, bad, said):
    answer = run(bad(tmp_path, clip), clip, "--executor", "threads")
    assert answer.code == 1
    (line,) = [line for line in answer.err.splitlines() if "failed" in line]
    assert said in line
    assert "Traceback" not in answer.err
    assert "errno" not in line.lower()
    assert len(rows_in(tmp_path / "out")["frames"]) == FRAMES


def test_a_file_cut_in_half_gives_its_first_half(run, tmp_path):
    whole = make(tmp_path / "whole.ts", 60, size=(64, 48))
    cut = cut_off(whole, tmp_path / "cut.ts", 0.5)
    answer = run(cut)
    frames = rows_in(tmp_path / "out")["frames"]
    assert answer.code == 0
    assert 20 <= len(frames) < 60
    assert said(answer) == [f"cut: done, {len(frames)}"]


def test_damaged_packets_are_counted_and_named(run, tmp_path):
    whole = make(tmp_path / "whole.mp4", 60, size=(64, 48))
    damaged = hole(whole, tmp_path / "damaged.mp4", 0.4, 600)
    answer = run(damaged)
    assert answer.code == 0
    assert len(rows_in(tmp_path / "out")["frames"]) > 30
    line = json.loads(answer.err.splitlines()[-1])
    assert (line["event"], line["source"]) == ("done", str(damaged))
    assert line["damaged_packets"] > 0


# -- bad usage: code 2 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("dept", "task 'dept' is unknown: write semantic:CLASS,CLASS"),
        ("semantic:", "'semantic:' names nothing"),
        ("semantic:car,,road", "has an empty class name"),
        ("semantic:car,road,car", "names car twice: name each class once"),
        ("instances:car,person", "one class per prompt"),
        ("depth:far", "takes no words"),
    ],
)
def test_a_task_that_cannot_be_read_is_explained(run, clip, task, said):
    answer = run(clip, task=task)
    assert answer.code == 2
    assert said in answer.err
    assert "prompts.0" in answer.err


def test_no_source_at_all(plantain, tmp_path):
    answer = plantain("run", "--task", "depth", "--out", tmp_path)
    assert answer.code == 2
    assert answer.err == "name at least one file, folder or URL, or a --config that does\n"


def test_no_task_at_all(plantain, clip, tmp_path):
    answer = plantain("run", clip, "--out", tmp_path)
    assert answer.code == 2
    assert f"nothing is asked of {clip}" in answer.err


def test_an_option_that_does_not_exist(plantain):
    assert plantain("run", "--colour", "blue").code == 2


def test_a_folder_without_videos_is_named(run, tmp_path):
    (tmp_path / "nothing").mkdir()
    answer = run(tmp_path / "nothing")
    assert answer.code == 2
    assert f"folder '{tmp_path / 'nothing'}' holds no videos" in answer.err


def test_an_unreadable_folder_is_named(run, tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    walk = os.walk

    def refuse(top, onerror=None, **options):
        onerror(PermissionError(13, "Permission denied"))
        return walk(top, **options)

    monkeypatch.setattr(os, "walk", refuse)  # root may read anywhere, so permissions alone would not do
    answer = run(tmp_path / "locked")
    assert answer.code == 2
    assert "locked' cannot be read: Permission denied; check who may read it" in answer.err


def test_an_output_that_is_a_file_is_refused_before_anything_is_read(run, clip, tmp_path):
    (tmp_path / "out").write_text("mine")
    answer = run(clip)
    assert answer.code == 2
    assert "out: it is not a folder; choose another --out" in answer.err


def test_an_unknown_model_is_refused(plantain, clip, tmp_path):
    answer = plantain("run", clip, "--task", "depth", "--model", "gpt", "--out", tmp_path / "out")
    assert answer.code == 2
    assert "model 'gpt' is unknown: use embedded, fake" in answer.err


def test_a_disk_that_is_full_fails_the_streams_and_the_next_run_goes_on(run, clip, tmp_path, monkeypatch):
    def refuse(part):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("plantain.operators.sinks.parquet.sink._Part.close", refuse)
        answer = run(clip)
    assert answer.code == 1
    assert "no space is left for results in" in answer.err
    assert "free some and run the same command again to go on" in answer.err
    assert run(clip).code == 0
    assert len(rows_in(tmp_path / "out")["frames"]) == FRAMES


def test_a_disk_too_full_for_the_checkpoint_fails_the_stream(run, clip, tmp_path, monkeypatch):
    def refuse(path, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("plantain.pipeline.checkpoint.Checkpoints.begin", lambda self, run, **_: None)
        patched.setattr("plantain.operators.sinks.store.write_durably", refuse)
        answer = run(clip)
    assert answer.code == 1
    assert "no space is left for results" in answer.err
    assert run(clip).code == 0


def test_a_model_that_answers_nothing_fails_its_stream_and_the_next_run_tries_again(plantain, clip, tmp_path):
    config = tmp_path / "config.yaml"
    every = ",".join(map(str, range(FRAMES)))
    config.write_text(
        f"streams: [{{url: {clip}}}]\nprompts: [depth]\noutput: {{out: {tmp_path / 'out'}, segment_frames: 5}}\n"
        f"model: {{name: '{PICKY}', options: {{refuses: '{every}'}}}}\n"
    )
    for _ in range(2):
        answer = plantain("run", "--config", config)
        assert answer.code == 1
        assert "not one frame was answered; the last one: infer: ValueError: I will not look at" in answer.err
        assert len(rows_in(tmp_path / "out")["frames"]) == FRAMES


# -- configuration -----------------------------------------------------------------------------------------


def test_validate_names_all_mistakes_at_once(plantain, tmp_path):
    config = tmp_path / "bad.yaml"
    config.write_text(
        "streams: [{url: a.mp4, fps: -1}]\nprompts: [dept]\nmodle: {}\noutput: {segment_frames: 0}\n"
    )
    answer = plantain("validate", config)
    assert answer.code == 2
    assert "has 4 mistake(s):" in answer.err
    for where in ("streams.0.fps:", "prompts.0:", "modle: unknown setting", "output.segment_frames:"):
        assert where in answer.err


def test_validate_says_that_a_file_is_fine(plantain, clip, tmp_path):
    config = tmp_path / "good.yaml"
    config.write_text(f"streams: [{{url: {clip}}}]\nprompts: [depth]\n")
    answer = plantain("validate", config)
    assert (answer.code, answer.out) == (0, f"{config} is fine: 1 streams\n")


def test_describe_shows_streams_prompts_and_stages(plantain, clip, tmp_path):
    config = tmp_path / "good.yaml"
    config.write_text(f"streams: [{{url: {clip}}}]\nprompts: [depth, 'semantic:car,road']\n")
    answer = plantain("describe", config)
    assert answer.code == 0
    for part in (
        "good:",
        "depth",
        "semantic:car,road",
        "infer",
        "at most 256 frames between decoder and sink",
    ):
        assert part in answer.out


def test_options_win_over_the_configuration(plantain, clip, tmp_path):
    config = tmp_path / "common.yaml"
    config.write_text(
        f"streams: [{{url: {clip}, max_frames: 3}}]\nprompts: [depth]\nmodel: {{name: '{PICKY}'}}\n"
    )
    answer = plantain(
        "run", "--config", config, "--task", "normals", "--max-frames", "2", "--out", tmp_path / "out"
    )
    assert answer.code == 0
    assert [row["prompt"] for row in rows_in(tmp_path / "out")["frames"]] == ["normals", "normals"]


def test_the_sink_is_closed_also_where_a_stream_failed(run, clip, tmp_path, monkeypatch):
    closed = []
    close = ParquetSink.close
    monkeypatch.setattr(ParquetSink, "close", lambda self: (closed.append(self), close(self)))
    run(tmp_path / "missing.mp4")
    assert len(closed) == 1
