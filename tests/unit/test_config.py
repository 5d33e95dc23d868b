from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from plantain.deploy.cli.options import put
from plantain.operators.errors import UsageError
from plantain.operators.streams import Sampling
from plantain.pipeline.config import PipelineConfig, check, load, plain
from plantain.pipeline.config.output import OutputConfig
from plantain.pipeline.video import run_id_of, run_of, start_of, view_of

GOOD = {"streams": [{"url": "a.mp4"}], "prompts": ["depth"]}


def mistakes_in(data: dict) -> list[str]:
    with pytest.raises(UsageError) as caught:
        check(data, "street.yaml")
    first, *lines = str(caught.value).splitlines()
    assert first == f"street.yaml has {len(lines)} mistake(s):"
    return lines


def test_the_smallest_configuration():
    config = check(GOOD)
    ((spec, prompts),) = config.specs()
    assert (spec.stream_id, spec.url) == ("a", "a.mp4")
    assert [str(prompt) for prompt in prompts] == ["depth"]
    assert config.executor == "threads"


def test_what_is_short_in_a_file_is_as_good_as_at_length(tmp_path: Path) -> None:
    long = check(
        {
            "streams": [
                {"url": "a.mp4"},
                {
                    "url": "b.mp4",
                    "prompts": ["normals"],
                    "options": {"realtime": "yes", "loop": "no", "ring": "8", "timeout_s": "2.5"},
                },
            ],
            "prompts": ["depth"],
            "models": {"quick": {"name": "fake"}, "slow": {"name": "fake", "cpus": 1}},
            "analytics": [{"name": "presence"}],
        }
    )
    (tmp_path / "short.yaml").write_text("""
streams:
  - a.mp4
  - {url: b.mp4, prompts: normals, options: {realtime: yes, loop: no, ring: 8, timeout_s: 2.5}}
prompts: depth
models: {quick: fake, slow: {name: fake, cpus: 1}}
analytics: presence
""")
    assert load(tmp_path / "short.yaml") == long
    one = check({"streams": "a.mp4", "prompts": "depth", "model": "fake"})
    assert one == check({"streams": [{"url": "a.mp4"}], "prompts": ["depth"], "model": {"name": "fake"}})


def test_a_model_that_is_named_short_is_another_one_by_a_word_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text("{streams: a.mp4, prompts: depth, model: embedded}")
    settings = plain(tmp_path / "short.yaml")
    put(settings, "model", name="fake")
    put(settings["streams"], 0, fps=2.0)
    assert check(settings).model.name == "fake"
    assert check(settings).streams[0].fps == 2.0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"streams": 7}, "streams: must be a list"),
        ({"streams": [7]}, "streams.0: must hold settings, as name: value"),
        ({"model": ["fake"]}, "model: must hold settings, as name: value"),
        ({"models": ["fake"]}, "models: must hold settings, as name: value"),
        ({"prompts": 7}, "prompts: must be a list"),
        (
            {"streams": [{"url": "a.mp4", "options": 7}]},
            "streams.0.options: must hold settings, as name: value",
        ),
    ],
)
def test_what_has_another_form_than_it_must_is_told_in_words(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        check({"streams": [{"url": "a.mp4"}], "prompts": ["depth"], **settings})
    assert said in str(refused.value)


def test_all_mistakes_are_named_at_once_each_with_its_path():
    lines = mistakes_in(
        {
            "streams": [{"url": "a.mp4", "every": 0, "colour": "red"}, {"id": "1st", "url": "b.mp4"}],
            "prompts": ["depth", "dept"],
            "model": {"name": "embedded", "replicas": 0},
            "executor": "cloud",
        }
    )
    starts = [line.partition(":")[0] for line in lines]
    expected = [
        "streams.0.every",
        "streams.0.colour",
        "streams.1.id",
        "prompts.1",
        "model.replicas",
        "executor",
    ]
    assert sorted(starts) == sorted(expected)
    (unknown,) = [line for line in lines if line.startswith("streams.0.colour")]
    assert "unknown setting; known here: asked_of, cadences, every, fps, hfov_deg, id" in unknown
    (prompt,) = [line for line in lines if line.startswith("prompts.1")]
    assert "task 'dept' is unknown: write semantic:CLASS,CLASS" in prompt
    (name,) = [line for line in lines if line.startswith("streams.1.id")]
    assert "'1st' must start with a letter" in name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"streams": []}, "streams: name at least one"),
        ({"prompts": []}, "streams.0: nothing is asked of a.mp4; add prompts there or at the top"),
        ({"prompts": ["depth", "depth[curve=paper]"]}, "streams.0: the same prompt is asked twice of a.mp4"),
        ({"streams": [{"url": "a.mp4", "id": "x"}, {"url": "b.mp4", "id": "x"}]}, "two streams are called x"),
    ],
)
def test_what_does_not_go_together_is_named(change, said):
    assert said in "\n".join(mistakes_in(GOOD | change))


def test_what_is_missing_is_named():
    assert mistakes_in({"prompts": ["depth"]}) == ["streams: is required"]


@pytest.mark.parametrize(
    ("text", "said"),
    [("streams: [", "is not YAML"), ("- a\n- b\n", "must hold a mapping"), ("", "must hold a mapping")],
)
def test_a_file_that_is_no_configuration(tmp_path, text, said):
    path = tmp_path / "street.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        load(path)


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        load(tmp_path / "none.yaml")
    (tmp_path / "clip.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "clip.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path)


def test_a_stream_may_have_its_own_prompts_and_sampling():
    data = GOOD | {
        "streams": [{"url": "a.mp4"}, {"url": "b.mp4", "prompts": ["normals"], "fps": 2, "max_frames": 9}]
    }
    (_, first), (spec, second) = check(data).specs()
    assert [str(prompt) for prompt in (*first, *second)] == ["depth", "normals"]
    assert (spec.sampling.fps, spec.sampling.every, spec.sampling.max_frames) == (2, 1, 9)


def test_the_field_of_view_is_said_by_stream_and_must_be_that_of_a_lens():
    data = GOOD | {"streams": [{"url": "a.mp4"}, {"url": "b.mp4", "hfov_deg": 84}]}
    assert [spec.hfov_deg for spec, _ in check(data).specs()] == [None, 84.0]
    for wrong in (0, -20, 180, 360):
        with pytest.raises(UsageError, match="hfov_deg"):
            check(GOOD | {"streams": [{"url": "a.mp4", "hfov_deg": wrong}]})


def test_folders_become_streams_and_names_stay_apart(tmp_path):
    for name in ("x/a.mp4", "y/a.mp4", "y/b.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    config = check(GOOD | {"streams": [{"url": str(tmp_path / "x")}, {"url": str(tmp_path / "y")}]})
    names = [spec.stream_id for spec, _ in config.specs()]
    assert len(set(names)) == 3
    assert "b" in names


def test_a_stream_that_is_listed_twice_must_be_told_apart():
    with pytest.raises(UsageError, match="two streams are called a: give them an id"):
        check(GOOD | {"streams": [{"url": "a.mp4"}, {"url": "a.mp4"}]}).specs()


def test_the_canvas_is_the_models_favourite_unless_it_is_named():
    assert view_of(check(GOOD | {"model": {"name": "fake"}})).model_hw == (224, 384)
    view = view_of(check(GOOD | {"model": {"canvas": {"width": 64, "height": 48, "fit": "stretch"}}}))
    assert (view.model_hw, view.fit, view.picture_long_side) == ((48, 64), "stretch", None)
    assert view_of(check(GOOD | {"output": {"sinks": ["parquet", "overlay"]}})).picture_long_side == 1280


def test_a_run_is_the_same_as_long_as_its_rows_are():
    run = run_id_of(check(GOOD))
    assert (
        run_id_of(check(GOOD | {"executor": "ray", "batch": {"max_items": 2}, "output": {"out": "other"}}))
        == run
    )
    assert run_id_of(check(GOOD | {"prompts": ["normals"]})) != run
    assert run_id_of(check(GOOD | {"model": {"options": {"key": 1}}})) != run


def test_secrets_are_not_part_of_what_is_stored_about_a_run():
    data = GOOD | {
        "streams": [{"url": "http://me:s3cret@host/a.mp4", "options": {"password": "s3cret"}}],
        "model": {"options": {"api_key": "s3cret"}},
    }
    assert "s3cret" not in str(run_of(check(data)))


def sections(section: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield section
    for field in section.model_fields.values():
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from sections(inner)


def test_every_setting_says_what_it_is():
    found = {*sections(PipelineConfig)}
    assert {"StreamConfig", "CadenceConfig", "KafkaSecurityConfig"} < {each.__name__ for each in found}
    for section in found:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


def test_nothing_can_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        check(GOOD).executor = "ray"


def test_a_prompt_may_say_how_often_it_is_asked():
    config = check(
        {
            "streams": [
                {
                    "url": "a.mp4",
                    "prompts": [{"prompt": "depth", "fps": 1}, "normals@every5", "semantic:car@2.5fps"],
                },
                {"url": "b.mp4"},
            ],
            "prompts": ["depth", {"prompt": "normals", "every": 3}],
        }
    )
    first, second = (start_of(config, stream, None) for stream in config.named())
    assert [str(prompt) for prompt in first.prompts] == ["depth", "normals", "semantic:car"]
    assert dict(first.cadences) == {
        "depth": Sampling(fps=1),
        "normals": Sampling(every=5),
        "semantic:car": Sampling(fps=2.5),
    }
    assert dict(second.cadences) == {"normals": Sampling(every=3)}
    changed = config.streams[0].changed({"prompts": ["depth"]})
    assert ([str(prompt) for prompt in changed.prompts], changed.cadences) == (["depth"], {})


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({"fps": 1}, "prompts.0: a prompt that says more is written"),
        ({"prompt": "depth", "fps": 0}, "cadences.depth.fps: "),
        ({"prompt": "depth", "often": 1}, "cadences.depth.often: unknown setting"),
        ({"prompt": "dept"}, "prompts.0: "),
    ],
)
def test_a_cadence_that_makes_no_sense_is_named_with_its_place(prompt, said):
    assert any(
        line.startswith(said) for line in mistakes_in({"streams": [{"url": "a.mp4"}], "prompts": [prompt]})
    )


def test_what_is_kept_is_written_as_people_say_it() -> None:
    keep = OutputConfig.model_validate({"keep": {"rows": "400d", "rasters": "12h", "disk": "80%"}}).keep
    assert keep.spans() == {"rows_s": 400 * 86400, "rasters_s": 12 * 3600, "pictures_s": None, "disk": 0.8}


def test_a_share_of_a_disk_that_is_no_disk_is_refused() -> None:
    for out in ("s3://bucket/out", "gs://bucket/out"):
        with pytest.raises(ValidationError, match=r"keep\.disk counts on local disks"):
            OutputConfig.model_validate({"out": out, "keep": {"disk": "80%"}})
    for out in ("out", "file:///data/out"):
        assert OutputConfig.model_validate({"out": out, "keep": {"disk": "80%"}}).keep.spans()["disk"] == 0.8


@pytest.mark.parametrize(
    "keep", [{"rows": "forever"}, {"rows": 400}, {"disk": "0%"}, {"disk": "101%"}, {"rasters": "-1d"}]
)
def test_an_age_or_a_share_that_is_none_is_refused(keep: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OutputConfig.model_validate({"keep": keep})


@pytest.mark.parametrize(
    ("out", "spool", "folder"),
    [
        ("out", {}, "out/.plantain/spool"),
        ("file:///data/out", {}, "/data/out/.plantain/spool"),
        ("s3://bucket/out", {}, None),
        ("s3://bucket/out", {"folder": "/spool"}, "/spool"),
        ("out", {"size": "0B"}, None),
    ],
)
def test_the_spool_is_beside_the_results_unless_they_are_far_away(
    out: str, spool: dict[str, str], folder: str | None
) -> None:
    config = OutputConfig.model_validate({"out": out, "spool": {"size": "1.5GB"} | spool})
    assert config.spool_options()["spool"] == folder
    assert config.spool_options()["spool_bytes"] in (1_500_000_000, 0)
