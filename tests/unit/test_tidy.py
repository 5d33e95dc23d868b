"""An output folder after days: few large parts, the same rows at every moment, and nothing kept for too long."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import structlog
from pyarrow import fs
from typer.testing import CliRunner

import plantain.operators.sinks.parquet.sink as parquet
import plantain.operators.sinks.parquet.tidy as tidying
from plantain.deploy.cli.app import app
from plantain.deploy.cli.streams import _show
from plantain.deploy.metrics import Exporter
from plantain.operators.errors import SinkError
from plantain.operators.segments import Durable, Position
from plantain.operators.sinks.base import Segment
from plantain.operators.sinks.parquet import local, reading
from plantain.operators.sinks.parquet.exchange import Exchange, Replacement
from plantain.operators.sinks.parquet.parts import parts_in
from plantain.operators.sinks.parquet.reading import read_frames, read_metadata, read_results
from plantain.operators.sinks.parquet.sink import ParquetSink
from plantain.operators.sinks.parquet.swapping import RemoteTables
from plantain.operators.sinks.parquet.tidy import Keep, Tidy
from plantain.operators.sinks.rows import Rows
from plantain.operators.sinks.store import Store
from plantain.pipeline import tidying as beside
from plantain.pipeline.checkpoint import Checkpoints
from plantain.pipeline.commands import Streams
from plantain.pipeline.config import check
from plantain.pipeline.config.output import KeepConfig
from plantain.pipeline.tidying import tidy
from tests.assets.clips import make
from tests.field.runs import running
from tests.file_faults import Faults, Killed, Watched, copy_tree
from tests.results import result
from tests.serving import eventually
from tests.stored import rows_in

DAY_NS = 86_400 * 10**9
CAMERAS = ["north", "south", "yard"]


def of_cameras(out: Path, segments: range, streams: list[str] = CAMERAS) -> None:
    """Segments of two frames of cameras that share their parts."""
    sink = ParquetSink(str(out), {"plantain.model": "hand"})
    for index in segments:
        together = [Segment(stream_id, 0, index, is_live=True) for stream_id in streams]
        for segment in together:
            made = [result(2 * index + k, stream_id=segment.stream_id) for k in (0, 1)]
            sink.write(segment, Rows(made, "run"))
        sink.commit_together(together)
    sink.close()


def of_file(out: Path, segments: range, stream_id: str = "clip") -> None:
    """Segments of four frames of a file, each made anew where it is there."""
    sink = ParquetSink(str(out))
    sink.begin(stream_id, is_resumed=True)
    for index in segments:
        segment = Segment(stream_id, 0, index)
        sink.write(segment, Rows([result(4 * index + k, stream_id=stream_id) for k in range(4)], "run"))
        sink.commit(segment)
    sink.close()


def tidy_at(out: Path, days: float = 1, begins: tuple[int, int] | None = None, used=None) -> Tidy:
    """As it is done so many days from now."""
    return Tidy(str(out), lambda _: begins, lambda: time.time_ns() + round(days * DAY_NS), used)


def parts(out: Path, table: str = "frames") -> list[str]:
    return [path.relative_to(out / table).as_posix() for path in sorted(out.glob(f"{table}/*/*.parquet"))]


def test_the_parts_that_cameras_share_become_few_and_every_row_is_as_it_was(tmp_path):
    of_cameras(tmp_path, range(6))
    before, told = rows_in(tmp_path), read_results(tmp_path, "south")
    with structlog.testing.capture_logs() as logs:
        (change,) = tidy_at(tmp_path).compact()
    assert (change.what, change.parts) == ("merged", 6)
    assert [(entry["event"], entry["parts"]) for entry in logs] == [("merged", 6)]
    assert [len(parts(tmp_path, table)) for table in ("frames", "objects", "events")] == [1, 1, 0]
    assert rows_in(tmp_path) == before
    again = read_results(tmp_path, "south")
    assert [each.header for each in again] == [each.header for each in told]
    assert [[str(p.prompt) for p in each.predictions] for each in again] == [
        [str(p.prompt) for p in each.predictions] for each in told
    ]
    assert read_metadata(tmp_path)["plantain.model"] == "hand"
    assert list(tidy_at(tmp_path).compact()) == [], "once is enough"
    assert not [path for path in (tmp_path / ".plantain" / "tidy").iterdir() if path.name != "lock"]


def test_of_today_nothing_is_touched(tmp_path):
    of_cameras(tmp_path, range(3))
    before = parts(tmp_path)
    today = tidy_at(tmp_path, 0, used=lambda _: 1.0)
    assert list(today.compact()) == []
    assert list(today.expire(Keep(rows_s=0, rasters_s=0, pictures_s=0, disk=0.1))) == []
    assert parts(tmp_path) == before


def test_parts_are_joined_up_to_a_size_and_each_day_by_itself(tmp_path, monkeypatch):
    of_cameras(tmp_path, range(6))
    first = parts_in(fs.LocalFileSystem(), str(tmp_path))[0]
    monkeypatch.setattr(tidying, "MERGED_BYTES", round(2.5 * max(first.sizes.values())))
    changes = list(tidy_at(tmp_path).compact())
    assert len(changes) > 1
    assert len(parts(tmp_path)) == len(changes)
    of_cameras(tmp_path, range(6, 8))
    late = max((tmp_path / "frames" / "stream=_shared").iterdir())
    day_later = late.name.replace(late.name[5:25], f"{int(late.name[5:25]) + DAY_NS:020d}")
    for table in ("frames", "objects"):
        folder = tmp_path / table / "stream=_shared"
        (folder / late.name).rename(folder / day_later)
    list(tidy_at(tmp_path, 2).compact())
    assert day_later in {Path(part).name for part in parts(tmp_path)}


def test_a_reader_that_has_opened_a_part_reads_on(tmp_path):
    of_cameras(tmp_path, range(3))
    opened = [pq.ParquetFile(tmp_path / "frames" / part) for part in parts(tmp_path)]
    list(tidy_at(tmp_path).compact())
    assert [file.read().num_rows for file in opened] == [12, 12, 12]


@pytest.mark.parametrize("work", ["compact", "rows"])
def test_a_name_means_the_same_rows_or_none_at_any_moment_and_whoever_lists_finds_all_once(
    tmp_path, monkeypatch, work
):
    of_cameras(tmp_path, range(3), CAMERAS[:2])
    seen: list[dict[str, int]] = []

    def look(*_args: object) -> None:
        here = [path for path in tmp_path.glob("frames/*/*.parquet") if path.exists()]
        seen.append({path.name: pq.ParquetFile(path).metadata.num_rows for path in here})

    Watched(monkeypatch, look)
    list(tidy_at(tmp_path).compact() if work == "compact" else tidy_at(tmp_path).expire(Keep(rows_s=0)))
    assert len(seen) > 20
    by_name: dict[str, set[int]] = {}
    for listed in seen:
        for name, count in listed.items():
            by_name.setdefault(name, set()).add(count)
    assert all(len(counts) == 1 for counts in by_name.values()), (
        "what was listed is opened later, or is not there"
    )
    assert {sum(listed.values()) for listed in seen} == ({24} if work == "compact" else {24, 0})


def test_our_own_readers_look_again_where_a_part_has_gone_that_they_had_listed(tmp_path, monkeypatch):
    of_cameras(tmp_path, range(3))
    listed, before = reading._parts(tmp_path, "frames", None), read_frames(tmp_path)
    list(tidy_at(tmp_path).compact())
    parts_of, stale = reading._parts, [listed]
    monkeypatch.setattr(reading, "_parts", lambda *args: stale.pop() if stale else parts_of(*args))
    assert sorted(read_frames(tmp_path)["frame_index"]) == sorted(before["frame_index"])
    assert not stale
    monkeypatch.setattr(reading, "_parts", lambda *_: listed)
    with pytest.raises(SinkError, match="parts go while they are read"):
        read_frames(tmp_path)


def test_while_somebody_holds_a_lock_on_the_folder_nothing_is_replaced(tmp_path):
    of_cameras(tmp_path, range(3))
    before = parts(tmp_path)
    reader = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_SH)
    for work in (tidy_at(tmp_path).compact(), tidy_at(tmp_path).expire(Keep(rows_s=0))):
        with pytest.raises(SinkError, match="holds a lock"):
            list(work)
    assert parts(tmp_path) == before
    os.close(reader)
    assert len(list(tidy_at(tmp_path).compact())) == 1
    assert len(parts(tmp_path)) == 1


def test_of_a_file_only_what_no_run_makes_again_is_touched(tmp_path):
    of_file(tmp_path, range(6))
    before = rows_in(tmp_path)
    assert list(tidy_at(tmp_path).compact()) == [], "nobody knows how far it is"
    (change,) = tidy_at(tmp_path, begins=(0, 4)).compact()
    assert change.parts == 4
    assert parts(tmp_path) == [
        "stream=clip/part-0000-000000+0000-000003.parquet",
        "stream=clip/part-0000-000004.parquet",
        "stream=clip/part-0000-000005.parquet",
    ]
    of_file(tmp_path, range(4, 8))  # resumed
    assert [row for row in rows_in(tmp_path)["frames"] if row["frame_index"] < 24] == before["frames"]
    list(tidy_at(tmp_path, begins=(0, 7)).compact())
    assert parts(tmp_path) == [
        "stream=clip/part-0000-000000+0000-000006.parquet",
        "stream=clip/part-0000-000007.parquet",
    ]
    assert len(rows_in(tmp_path)["frames"]) == 64
    ParquetSink(str(tmp_path)).begin("clip", is_resumed=False)
    assert parts(tmp_path) == []


def test_how_far_a_file_is_settled_is_what_its_checkpoint_says(tmp_path, monkeypatch):
    of_file(tmp_path, range(6))
    yesterday_ns = time.time_ns() - DAY_NS
    for path in tmp_path.glob("*/*/*.parquet"):
        os.utime(path, ns=(yesterday_ns, yesterday_ns))
    checkpoints = Checkpoints(Store(str(tmp_path)))
    checkpoints.begin({"segment_frames": 4, "streams": {}}, resume=True)
    checkpoints.save([Durable("clip", 0, Position(20, delivered=20))])
    checkpoints.save([Durable("clip", 0, Position(20, delivered=24), is_complete=True)])
    (change,) = tidy(str(tmp_path), KeepConfig())
    assert change.parts == 5, "what has grown is gone on with in its last segment"


def test_a_camera_by_itself_is_tidied_without_asking(tmp_path, monkeypatch):
    file_rows = Rows.table

    def of_camera(self, name, *, rasters=False):
        return [
            {**row, **({"captured_by": "arrival"} if "captured_by" in row else {})}
            for row in file_rows(self, name, rasters=rasters)
        ]

    monkeypatch.setattr(Rows, "table", of_camera)
    of_file(tmp_path, range(3), "cam")
    (change,) = tidy_at(tmp_path).compact()
    assert change.parts == 3


def test_a_stream_that_starts_anew_takes_its_rows_out_of_what_was_joined(tmp_path):
    of_cameras(tmp_path, range(3))
    list(tidy_at(tmp_path).compact())
    ParquetSink(str(tmp_path)).begin("south", is_resumed=False)
    assert {row["stream_id"] for row in rows_in(tmp_path)["frames"]} == {"north", "yard"}


@pytest.mark.parametrize(("work", "step"), [("compact", 4), ("rows", 3), ("rasters", 8)])
def test_killed_after_any_change_a_reader_sees_every_row_once_or_what_was_wanted(
    tmp_path, monkeypatch, work, step
):
    root = tmp_path / "out"
    monkeypatch.setattr(tidying, "has_links", lambda folder: True)
    of_cameras(root, range(2), CAMERAS[:2])

    def done(out: Path) -> None:
        keep = {"rows": Keep(rows_s=0), "rasters": Keep(rasters_s=0)}
        list(tidy_at(out).compact() if work == "compact" else tidy_at(out).expire(keep[work]))

    wanted = tmp_path / "wanted"
    copy_tree(root, wanted)
    done(wanted)
    outcomes = []
    for num_good in range(0, 200, step):
        copy = tmp_path / f"out-{num_good}"
        copy_tree(root, copy)
        with monkeypatch.context() as patched:
            faults = Faults(patched, Killed, num_good)
            with contextlib.suppress(Killed):
                done(copy)
        if not faults.hit:
            break
        found = rows_in(copy)
        outcomes.append(found == rows_in(wanted))
        if work != "rasters":  # each part by itself
            assert found in (rows_in(root), rows_in(wanted))
        done(copy)
        assert rows_in(copy) == rows_in(wanted)
        assert not any(path.is_symlink() for path in copy.rglob("*"))
    assert len(outcomes) > 4
    assert outcomes[0] is (work == "compact")
    assert outcomes[-1]


# -- letting go --------------------------------------------------------------------------------------------


def test_rows_go_by_age_and_maps_before_them(tmp_path):
    of_cameras(tmp_path, range(2))
    with structlog.testing.capture_logs() as logs:
        (stripped,) = tidy_at(tmp_path, 15).expire(Keep(rows_s=30 * 86400, rasters_s=14 * 86400))
    assert (stripped.what, stripped.parts) == ("rasters", 2)
    assert stripped.size_after < stripped.size
    assert [entry["event"] for entry in logs] == ["deleted"]
    assert {row["raster"] for row in rows_in(tmp_path)["frames"]} == {None}
    assert len(rows_in(tmp_path)["frames"]) == 24
    assert list(tidy_at(tmp_path, 16).expire(Keep(rasters_s=14 * 86400))) == []
    (gone,) = tidy_at(tmp_path, 31).expire(Keep(rows_s=30 * 86400, rasters_s=14 * 86400))
    assert (gone.what, gone.parts) == ("rows", 2)
    assert rows_in(tmp_path) == {"frames": [], "objects": [], "events": []}


def folders(out: Path) -> set[str]:
    return {folder.relative_to(out).as_posix() for folder in out.glob("*/stream=*")}


def test_a_folder_whose_rows_have_gone_goes_when_its_day_is_over_but_not_the_one_that_all_share(tmp_path):
    of_file(tmp_path, range(2), "north")
    of_file(tmp_path, range(1), "south")
    of_cameras(tmp_path, range(1))
    for path in tmp_path.glob("*/stream=north/*.parquet"):
        aged(path, 40)
    list(tidy_at(tmp_path, 0).expire(Keep(rows_s=30 * 86400)))
    tables = ("frames", "objects")
    kept = {f"{table}/stream={name}" for table in tables for name in ("north", "south", "_shared")}
    assert folders(tmp_path) == kept, "of today nothing is touched"
    list(tidy_at(tmp_path, 1).expire(Keep()))
    assert folders(tmp_path) == kept - {"frames/stream=north", "objects/stream=north"}
    list(tidy_at(tmp_path, 40).expire(Keep(rows_s=30 * 86400)))
    list(tidy_at(tmp_path, 41).expire(Keep(rows_s=30 * 86400)))
    assert folders(tmp_path) == {"frames/stream=_shared", "objects/stream=_shared"}


@pytest.mark.parametrize("is_linked", [True, False])
def test_a_writer_that_is_about_to_use_a_folder_that_goes_makes_it_again(tmp_path, monkeypatch, is_linked):
    monkeypatch.setattr(local, "has_links", lambda _: is_linked)
    of_file(tmp_path, range(1))
    for path in tmp_path.glob("*/stream=clip/*.parquet"):
        path.unlink()
    commit_of = Exchange.run if is_linked else Replacement.run

    def run(exchange: Exchange | Replacement) -> None:
        list(tidy_at(tmp_path).expire(Keep()))
        assert folders(tmp_path) == set()
        commit_of(exchange)

    monkeypatch.setattr(Exchange if is_linked else Replacement, "run", run)
    of_file(tmp_path, range(1, 2))
    assert {row["frame_index"] for row in rows_in(tmp_path)["frames"]} == {4, 5, 6, 7}
    assert folders(tmp_path) == {"frames/stream=clip", "objects/stream=clip"}


def aged(path: Path, days: float) -> None:
    then_ns = time.time_ns() - round(days * DAY_NS)
    os.utime(path, ns=(then_ns, then_ns))


def test_what_went_is_known_to_whoever_asks_how_things_are_also_after_a_restart(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(beside, "FIRST_S", 0.1)
    clip, out = make(tmp_path / "new.mp4", 3, size=(64, 48)), tmp_path / "out"
    of_file(out, range(2))
    for path in out.glob("*/*/*.parquet"):
        aged(path, 500)
    size = sum(path.stat().st_size for path in out.glob("*/*/*.parquet"))
    config = check(
        {
            "streams": [{"url": str(clip)}],
            "prompts": ["depth"],
            "model": {"name": "fake", "canvas": {"width": 64, "height": 36}},
            "output": {"out": str(out), "keep": {"rows": "400d"}},
            "executor": "inline",
        }
    )
    day = datetime.fromtimestamp(time.time() - 500 * 86400, UTC).date()
    with running(config) as control:
        eventually(lambda: all(each.deleted for each in control.do(Streams())), "deleted")
    with running(config) as control:
        (status,) = control.do(Streams())
        assert status.deleted == f"rows until {day} ({size / 1e6:.1f} MB)"
        exporter = Exporter(config, control.show)
        control.show(exporter.update)
        figure = f'plantain_deleted_bytes_total{{what="rows"}} {float(size)}'
        eventually(lambda: figure in exporter.text().decode(), "figure")
    _show([status], as_json=False)
    assert f"kept no longer: rows until {day}" in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["overlay", ".plantain/overlay/gate", "pictures/2026-11-30"])
def test_pictures_go_by_age(tmp_path, folder):
    """Also what a camera that still runs is going to make a video of."""
    (tmp_path / folder).mkdir(parents=True)
    for name, days in (("old", 40), ("new", 20)):
        (tmp_path / folder / f"{name}.mp4").write_bytes(b"1234")
        aged(tmp_path / folder / f"{name}.mp4", days)
    (change,) = tidy_at(tmp_path, 0).expire(Keep(pictures_s=30 * 86400))
    assert (change.what, change.parts, change.size) == ("pictures", 1, 4)
    assert [path.name for path in (tmp_path / folder).iterdir()] == ["new.mp4"]


def test_a_picture_that_is_being_written_stays_however_long_its_stream_has_rested(tmp_path):
    folder = tmp_path / ".plantain" / "overlay" / "clip"
    folder.mkdir(parents=True)
    for name in ("part-0000-000000.mp4", "part-0000-000001.writing"):
        (folder / name).write_bytes(b"1234")
        aged(folder / name, 40)
    used = iter([0.9, 0.9, 0.9])
    keep = Keep(pictures_s=30 * 86400, disk=0.8)
    assert [change.parts for change in tidy_at(tmp_path, 0, used=lambda _: next(used)).expire(keep)] == [1]
    assert [path.name for path in folder.iterdir()] == ["part-0000-000001.writing"]


def test_a_picture_that_goes_while_the_folder_is_looked_at_holds_up_nothing(tmp_path, monkeypatch):
    (tmp_path / "overlay").mkdir()
    for name in ("gone", "old"):
        (tmp_path / "overlay" / f"{name}.mp4").write_bytes(b"1234")
        aged(tmp_path / "overlay" / f"{name}.mp4", 40)
    (tmp_path / "overlay" / "nowhere.mp4").symlink_to(tmp_path / "nothing")
    stat, asked = Path.stat, []

    def gone(path: Path, **options):
        if path.name == "gone.mp4":
            asked.append(path)
            if len(asked) > 1:
                path.unlink(missing_ok=True)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", gone)
    assert [change.what for change in tidy_at(tmp_path, 0).expire(Keep(pictures_s=86400))] == ["pictures"]
    assert not (tmp_path / "overlay" / "old.mp4").exists()


def test_a_disk_that_fills_costs_the_oldest_days_and_never_today(tmp_path):
    for number in range(4):
        of_file(tmp_path, range(number, number + 1))
        for table in ("frames", "objects"):
            aged(tmp_path / table / "stream=clip" / f"part-0000-{number:06d}.parquet", 3 - number)
    left = iter([0.9, 0.85, 0.7])
    changes = list(tidy_at(tmp_path, 0, used=lambda _: next(left)).expire(Keep(disk=0.8)))
    assert [change.what for change in changes] == ["rows", "rows"]
    assert [change.day for change in changes] == sorted(change.day for change in changes)
    assert parts(tmp_path) == [f"stream=clip/part-0000-{number:06d}.parquet" for number in (2, 3)]
    with structlog.testing.capture_logs() as logs:
        list(tidy_at(tmp_path, 0, used=lambda _: 0.9).expire(Keep(disk=0.8)))
    assert parts(tmp_path) == ["stream=clip/part-0000-000003.parquet"]
    assert logs[-1]["event"] == "disk"


# -- object stores -----------------------------------------------------------------------------------------


@pytest.fixture
def bucket(tmp_path, monkeypatch) -> Path:
    """A folder that behaves as an object store does: no renames, no links."""
    (tmp_path / "bucket").mkdir()
    store = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    for module in (parquet, tidying):
        monkeypatch.setattr(module, "open_filesystem", lambda url: (store, "out"))
    return tmp_path / "bucket" / "out"


def test_an_object_store_is_tidied_too_also_when_that_is_broken_off(bucket, monkeypatch):
    of_cameras(Path("s3://bucket/out"), range(3))
    before = rows_in(bucket)
    exists, calls = RemoteTables._exists, []

    def torn(self: RemoteTables, path: str) -> bool:
        calls.append(path)
        if len(calls) == 6:  # two parts are deleted by then
            raise Killed
        return exists(self, path)

    with monkeypatch.context() as patched:
        patched.setattr(RemoteTables, "_exists", torn)
        with pytest.raises(Killed):
            list(tidy_at(Path("s3://bucket/out")).compact())
    assert len(rows_in(bucket)["frames"]) < len(before["frames"])
    list(tidy_at(Path("s3://bucket/out")).compact())
    assert rows_in(bucket) == before
    assert len(parts(bucket)) == 1
    assert not list((bucket / ".plantain" / "tidy").iterdir())


# -- by command --------------------------------------------------------------------------------------------


def test_the_command_says_what_it_did(tmp_path):
    of_file(tmp_path, range(3))
    for path in tmp_path.glob("*/*/*.parquet"):
        aged(path, 500)
    ran = CliRunner().invoke(app, ["tidy", str(tmp_path), "--rows", "400d"])
    assert "holds no results of a run" in str(ran.exception)
    Checkpoints(Store(str(tmp_path))).begin({"segment_frames": 4, "streams": {}}, resume=True)
    ran = CliRunner().invoke(app, ["tidy", str(tmp_path), "--rows", "400d", "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout.splitlines()[-1])
    assert [(change["what"], change["parts"]) for change in told["changes"]] == [("rows", 3)]
    assert parts(tmp_path) == []
    ran = CliRunner().invoke(app, ["tidy", str(tmp_path), "--rows", "forever"])
    assert "--rows" in str(ran.exception)


def zeroed(data: bytes) -> bytes:
    """A page in the middle is lost, what a file ends with is there."""
    return data[:40] + bytes(len(data) // 2 - 40) + data[len(data) // 2 :]


@pytest.mark.parametrize(
    "damage", [lambda _: b"", lambda data: data[: len(data) // 2], lambda data: data[:-9] + b"x" * 9, zeroed]
)
@pytest.mark.parametrize("table", ["frames", "objects"])
def test_a_damaged_part_stays_and_holds_up_nothing(tmp_path, table, damage):
    """A disk that lost power keeps parts without an end, or with holes."""
    of_cameras(tmp_path, range(4))
    of_cameras(tmp_path, range(4), ["alone", "beside"])
    torn = tmp_path / table / parts(tmp_path, table)[1]
    torn.write_bytes(damage(torn.read_bytes()))
    left = torn.read_bytes()
    with structlog.testing.capture_logs() as logs:
        merged = list(tidy_at(tmp_path).compact())
        stripped = list(tidy_at(tmp_path).expire(Keep(rasters_s=0)))
    assert torn.read_bytes() == left
    assert any(line["event"] == "damaged" for line in logs)
    assert [change.what for change in stripped].count("rasters") == 1
    assert merged or damage is zeroed  # neighbours of what only looks whole wait for it to be deleted
    (rows,) = tidy_at(tmp_path, 10).expire(Keep(rows_s=86_400))
    assert rows.what == "rows"
    assert not torn.exists()


def test_the_thread_that_tidies_outlives_whatever_is_wrong_with_a_folder(tmp_path, monkeypatch):
    tries: list[str] = []

    def fail(out, *_):
        tries.append(out)
        raise ValueError("not a file of ours")

    monkeypatch.setattr(beside, "tidy", fail)
    monkeypatch.setattr(beside, "FIRST_S", 0.01)
    monkeypatch.setattr(beside, "EVERY_S", 0.01)
    output = check(
        {"streams": [{"url": "a.mp4"}], "prompts": ["depth"], "output": {"out": str(tmp_path)}}
    ).output
    with beside.tidying_beside(output, Checkpoints(Store(str(tmp_path))), beside.Deletions()):
        eventually(lambda: len(tries) > 2, "tried again")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "name the output folder"),
        (["s3://bucket/out", "--disk", "80%"], "--disk counts on local disks"),
    ],
)
def test_the_command_refuses_what_it_could_not_mean(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    Checkpoints(Store(str(tmp_path))).begin({"segment_frames": 4, "streams": {}}, resume=True)
    assert said in str(CliRunner().invoke(app, ["tidy", *arguments]).exception)
