"""Where checkpoints come from, and all that can be wrong with them: one true sentence each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from plantain.operators.errors import ModelUnavailableError, UsageError
from plantain.operators.models import load_model
from plantain.operators.models.catalogue import LIBRARY
from plantain.operators.models.loading import located
from tests import checkpoints
from tests.hub_server import COMMIT, OLDER, hub

ASK = """
import json, sys, time
import huggingface_hub
from plantain.operators.errors import ModelUnavailableError
from plantain.operators.models.loading import located
from tests.checkpoints.making import one_thread  # noqa: F401 - a fixture of every test here
for arguments in json.loads(sys.argv[1]):
    start = time.monotonic()
    try:
        found = located(arguments["checkpoint"], arguments.get("revision", ""), offline=arguments.get("offline", False))
        said = [found.commit, found.kind, found.digest()]
    except ModelUnavailableError as error:
        said = str(error)
    print(json.dumps({"said": said, "took_s": time.monotonic() - start}))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return checkpoints.segformer(tmp_path_factory.mktemp("loading") / "segformer")


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def asked(endpoint: str, cache: Path, *arguments: dict[str, object], **environment: str) -> list[dict]:
    """What a fresh process, which reads the hub's address as it starts, says of checkpoints."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(arguments)],
        env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(900)  # processes that load torch, one after the other
def test_what_the_hub_gives_and_refuses(whole: Path, tmp_path: Path) -> None:
    with hub({"someone/roads": whole}) as endpoint:
        got, pinned, older, gated, absent, unknown, revision, broken, busy, closed, again = (
            each["said"]
            for each in asked(
                endpoint,
                tmp_path,
                {"checkpoint": "someone/roads"},
                {"checkpoint": "someone/roads", "revision": COMMIT},
                {"checkpoint": "someone/roads", "revision": OLDER},
                {"checkpoint": "someone/gated"},
                {"checkpoint": "someone/absent"},
                {"checkpoint": "someone/typo"},
                {"checkpoint": "someone/roads", "revision": "v9"},
                {"checkpoint": "someone/broken"},
                {"checkpoint": "someone/busy"},
                {"checkpoint": "someone/closed"},
                {"checkpoint": "someone/roads", "offline": True},
            )
        )
        assert got == pinned == again == [COMMIT, "segformer", COMMIT[:12]]
        assert older == [OLDER, "segformer", OLDER[:12]]
        assert gated == (
            f"someone/gated is gated: accept its terms at {endpoint}/someone/gated, "
            "and give the account's token in HF_TOKEN"
        )
        for name, said in (("absent", absent), ("typo", unknown)):
            assert said == (
                f"there is no repository someone/{name}, or it is private: check the name, or give a token in HF_TOKEN"
            )
        assert revision == (
            f"someone/roads has no revision 'v9': give a commit, tag or branch that {endpoint}/someone/roads lists"
        )
        for name, answer, said in (
            ("broken", "500: try again later", broken),
            ("busy", "429: try again later", busy),
            ("closed", "403: give a token in HF_TOKEN that may read it", closed),
        ):
            assert said == (
                f"someone/{name} is not in the cache, and the hub answered with HTTP {answer}, "
                "or copy its folder here and give its path"
            )
    # The hub is gone now: what was fetched is found in the cache, and what was not is not waited for.
    here, missing = asked(
        endpoint, tmp_path, {"checkpoint": "someone/roads"}, {"checkpoint": "someone/other"}
    )
    assert here["said"] == got
    assert missing["said"].startswith(
        "someone/other is not in the cache, and the hub was not asked or did not answer"
    )
    assert missing["took_s"] < 30
    (sealed,) = asked(endpoint, tmp_path, {"checkpoint": "someone/other"}, HF_HUB_OFFLINE="1")
    assert (
        "run 'plantain models fetch someone/other' where there is a network, or copy its folder"
        in sealed["said"]
    )
    assert sealed["took_s"] < 15, "attempts at a hub take 23 s"


def test_the_one_file_that_a_network_is_published_as_comes_from_the_hub(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "README.md").write_text("a card")
    torch.save({"model_config": {}, "model": {}}, folder / "model.pt")
    with hub({"someone/one": folder}) as endpoint:
        got, again = asked(
            endpoint,
            tmp_path / "cache",
            {"checkpoint": "someone/one"},
            {"checkpoint": "someone/one", "offline": True},
        )
    assert got["said"] == again["said"] == [COMMIT, "model.pt", COMMIT[:12]]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "/nowhere/segformer",
            "there is no folder /nowhere/segformer: give the folder of a checkpoint, or a repository",
        ),
        ("segformer", "there is no folder segformer"),
        ("a/b/c", "there is no folder a/b/c"),
    ],
)
def test_a_folder_that_is_not_there(name: str, said: str) -> None:
    with pytest.raises(ModelUnavailableError, match=said):
        located(name)


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(
        ModelUnavailableError, match=r"holds no config.json or model_index.json: it is no checkpoint"
    ):
        located(str(tmp_path))


def test_a_configuration_that_is_cut(copy: Path) -> None:
    (copy / "config.json").write_text('{"model_type": "segf')
    with pytest.raises(ModelUnavailableError, match=r"config.json of .* is damaged: copy it again"):
        located(str(copy))


def test_weights_that_were_not_copied_or_are_pickles(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(
        ModelUnavailableError, match=r"holds no weights .* or are pickles, which are never read"
    ):
        located(str(copy))


def test_weights_that_are_cut(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(
        ModelUnavailableError, match=r"model.safetensors of .* is damaged or cut short: copy it again"
    ):
        load_model("transformers", {"checkpoint": str(copy)})


def test_a_part_of_the_weights_that_is_missing(copy: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    with pytest.raises(
        ModelUnavailableError, match=r"lacks model-00002-of-00002.safetensors: copy all parts"
    ):
        located(str(copy))


@pytest.mark.parametrize(
    "written", ['{"weight_map": {"a": ', "[]", "{}", '{"weight_map": ["a"]}', "7", "\xff"]
)
def test_a_list_of_parts_that_is_cut_or_odd(copy: Path, written: str) -> None:
    (copy / "model.safetensors.index.json").write_text(written, encoding="latin-1")
    with pytest.raises(
        ModelUnavailableError, match=rf"model.safetensors.index.json of {copy} is damaged: copy it again"
    ):
        located(str(copy))


def test_single_weights_that_are_missing_are_never_random(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    del tensors["decode_head.classifier.weight"]
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ModelUnavailableError,
        match=r"lacks 1 of the network's weights, decode_head.classifier.weight among them",
    ):
        load_model("transformers", {"checkpoint": str(copy)})


def test_weights_of_another_shape(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    tensors["decode_head.classifier.weight"] = tensors["decode_head.classifier.weight"][:2].clone()
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ModelUnavailableError, match="cannot be loaded, so it is another version of the model"
    ):
        load_model("transformers", {"checkpoint": str(copy)})


TAKES_IT = ("transformers", "segformer", "remote-code")
"""Rows for which it is none of another model."""


@pytest.mark.parametrize("name", [each for each in LIBRARY if each not in TAKES_IT])
def test_the_checkpoint_of_another_model(whole: Path, name: str) -> None:
    said = f"{whole} holds a model of the type 'segformer', and {name} needs "
    with pytest.raises(ModelUnavailableError, match=said):
        load_model(name, {"checkpoint": str(whole)})


def test_a_checkpoint_of_no_task_here(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    with pytest.raises(
        ModelUnavailableError, match="is a BertForMaskedLM, which answers none of the tasks here"
    ):
        load_model("transformers", {"checkpoint": str(copy)})


def test_a_processor_that_was_not_copied(copy: Path) -> None:
    for name in ("preprocessor_config.json", "processor_config.json"):
        (copy / name).unlink(missing_ok=True)
    with pytest.raises(
        ModelUnavailableError, match="cannot be loaded, so it is another version of the model, or not"
    ):
        load_model("transformers", {"checkpoint": str(copy)})


def test_code_that_comes_with_a_checkpoint_is_not_run_unless_that_is_said(copy: Path, tmp_path: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSemanticSegmentation": "code.Model"}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(
        ModelUnavailableError, match=r"is run by Python code of its own, .* trust_remote_code: true"
    ):
        load_model("transformers", {"checkpoint": str(copy)})
    assert not (tmp_path / "ran").exists()


def test_no_checkpoint_at_all() -> None:
    with pytest.raises(UsageError, match="'transformers' needs the option checkpoint"):
        load_model("transformers")


def test_a_digest_changes_with_any_file_that_decides_answers(whole: Path, copy: Path) -> None:
    assert located(str(whole)).digest() == located(str(copy)).digest()
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "semantic_loss_ignore_index": 3}))
    assert located(str(whole)).digest() != located(str(copy)).digest()


def test_memory_that_is_short_while_loading_is_said(whole: Path, monkeypatch) -> None:
    import torch
    import transformers

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(transformers.SegformerForSemanticSegmentation, "from_pretrained", full)
    with pytest.raises(ModelUnavailableError, match="there is not enough memory for"):
        load_model("transformers", {"checkpoint": str(whole)})


def test_a_device_that_is_none_is_said(whole: Path) -> None:
    for option, said in (
        ({"device": "tpu7"}, "device 'tpu7' is unknown"),
        ({"dtype": "int4"}, "dtype 'int4'"),
    ):
        with pytest.raises(UsageError, match=said):
            load_model("transformers", {"checkpoint": str(whole), **option})
