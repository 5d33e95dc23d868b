"""Where a checkpoint is and whether it is whole: in a folder, the cache or the hub; what is wrong is one sentence.

What comes from the hub is put into the cache as a whole first, so that everything else happens in a folder. Weights are
read from safetensors: a pickle runs whatever is in it. The one that MoGe-2 is published as is read by torch's reader of
weights, which makes tensors and plain values and runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from plantain.operators.errors import ModelUnavailableError, PlantainError
from plantain.operators.models.hub import PICKLED, WANTED, causes_of, fetched
from plantain.operators.redaction import sentence_of

T = TypeVar("T")

_CONFIGS = ("config.json", "model_index.json")
"""What says which model a folder holds: of the transformers library, of the diffusers library."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
        name: As it was asked for.
        folder: Where its files are.
        commit: Which version of its repository it is; empty for a folder of the user's own.
        config: What it says about itself.
        is_pickled: Its weights and what it says about itself are in one file, `PICKLED`.
    """

    name: str
    folder: Path
    commit: str
    config: dict[str, Any]
    is_pickled: bool = False

    @property
    def called(self) -> str:
        """The last part of its name, without the revision."""
        return Path(self.name.partition("@")[0]).name

    @property
    def kind(self) -> str:
        """Which model it holds: the `model_type` of one library, the pipeline's class or the `model_name` of others."""
        said = (self.config.get(each) for each in ("model_type", "_class_name", "model_name"))
        return PICKLED if self.is_pickled else str(next((each for each in said if each), ""))

    @property
    def architecture(self) -> str:
        """The class that it was saved from; empty where it does not say."""
        named = self.config.get("architectures") or []
        return str(named[0]) if named else str(self.config.get("_class_name", ""))

    @property
    def brings_code(self) -> bool:
        """Whether it is run by Python code of its own."""
        return "auto_map" in self.config

    def digest(self) -> str:
        """Changes with any of its weights and settings: the commit, or of a folder the hash of every file.

        That takes about a second a GB.
        """
        if self.commit:
            return self.commit[:12]
        wanted = [PICKLED] if self.is_pickled else WANTED
        return digest_of(self.folder, [path for each in wanted for path in self.folder.rglob(each)])

    def expect(self, kinds: Sequence[str], who: str) -> None:
        """Refuses the checkpoint of another model, which its library would fill with random numbers.

        Raises:
            ModelUnavailableError: With what is needed instead.
        """
        if self.kind not in kinds:
            raise ModelUnavailableError(
                f"{self.name} holds a model of the type '{self.kind}', and {who} needs {' or '.join(kinds)}"
            )

    def refuse_code(self, *, is_trusted: bool) -> None:
        """Refuses a checkpoint that is run by Python code which comes with it, unless that is wanted.

        Raises:
            ModelUnavailableError: With the option that allows it.
        """
        if self.brings_code and not is_trusted:
            raise ModelUnavailableError(
                f"{self.name} is run by Python code of its own, which may do anything here: read it, "
                "and give the option trust_remote_code: true"
            )


def digest_of(folder: Path, files: Sequence[Path]) -> str:
    """Changes with any of the files below a folder, and with what they are called there."""
    whole = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            whole.update(path.relative_to(folder).as_posix().encode())
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:12]


def located(
    checkpoint: str, revision: str = "", *, offline: bool = False, has_code: bool = False
) -> Checkpoint:
    """A checkpoint, brought into the cache if it is not here yet, and known to be whole.

    Args:
        checkpoint: A folder, or a repository of the hub, `owner/name` or `owner/name@revision`.
        revision: Of the repository: a commit, tag or branch; the newest if empty.
        offline: Only what is on this machine.
        has_code: Its Python files are wanted, too.

    Raises:
        ModelUnavailableError: If it cannot be had, or is damaged.
    """
    folder = Path(checkpoint).expanduser()
    commit = ""
    if folder.is_dir():
        pass
    elif checkpoint.startswith((".", "~", os.sep)) or checkpoint.partition("@")[0].count("/") != 1:
        raise ModelUnavailableError(
            f"there is no folder {checkpoint}: give the folder of a checkpoint, or a repository as owner/name"
        )
    else:
        folder = fetched(checkpoint, revision, offline=offline, has_code=has_code)
        commit = folder.name
    if (folder / PICKLED).is_file() and not any(folder.rglob("*.safetensors")):
        if not zipfile.is_zipfile(folder / PICKLED):  # whose end says what is in it
            raise ModelUnavailableError(f"{PICKLED} of {checkpoint} is damaged or cut short: copy it again")
        return Checkpoint(checkpoint, folder, commit, {}, is_pickled=True)
    found = Checkpoint(checkpoint, folder, commit, _config_of(checkpoint, folder))
    _check_weights(found)
    return found


def made(checkpoint: Checkpoint, make: Callable[[], T]) -> T:
    """What a library makes of a checkpoint.

    Raises:
        ModelUnavailableError: If the library cannot.
    """
    try:
        return make()
    except PlantainError:
        raise
    except Exception as error:
        raise ModelUnavailableError(_said_by_library(checkpoint, error)) from error


def network_of(checkpoint: Checkpoint, cls: Any, **options: Any) -> Any:
    """A network of the transformers library with all of its weights, in evaluation mode.

    Args:
        checkpoint: Where they are.
        cls: Its class, or an automatic one.
        options: Of `from_pretrained`.

    Raises:
        ModelUnavailableError: If it cannot be made, or a weight is missing: it would be random.
    """
    from transformers.utils import logging

    log_as_ours(logging)
    kept = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True, **options}
    network, info = made(checkpoint, lambda: cls.from_pretrained(checkpoint.folder, **kept))
    refuse_missing(checkpoint, sorted(info["missing_keys"]))
    return network.eval()


def unpickled(checkpoint: Checkpoint) -> Any:
    """What the one file of a checkpoint holds: tensors and plain values.

    Raises:
        ModelUnavailableError: If there is anything else in it, or it is damaged.
    """
    import torch

    def read() -> Any:
        try:
            return torch.load(checkpoint.folder / PICKLED, map_location="cpu", weights_only=True, mmap=True)
        except pickle.UnpicklingError as error:
            raise ModelUnavailableError(
                f"{PICKLED} of {checkpoint.name} holds more than weights and plain values, which is never read because "
                "it may run anything"
            ) from error

    return made(checkpoint, read)


def filled(checkpoint: Checkpoint, network: Any, weights: Mapping[str, Any]) -> Any:
    """A network with these weights, all of them and no others, in evaluation mode.

    Args:
        checkpoint: Where they are from.
        network: A module.
        weights: Its tensors by their names.

    Raises:
        ModelUnavailableError: If they are not those of this network.
    """
    wanted = network.state_dict()
    refuse_missing(checkpoint, sorted(wanted.keys() - weights.keys()))
    if surplus := sorted(weights.keys() - wanted.keys()):
        raise ModelUnavailableError(
            f"{checkpoint.name} holds {len(surplus)} weights that the network has no place for, {surplus[0]} among "
            "them: it is one of another network"
        )
    made(checkpoint, lambda: network.load_state_dict(weights))
    return network.eval()


def log_as_ours(logging: Any) -> None:
    """Has a library of Hugging Face say what it says where everybody does, instead of drawing and writing by itself.

    Args:
        logging: Its own module for that.
    """
    logging.disable_progress_bar()  # of a second, in the logs of a service
    logging.disable_default_handler()
    logging.enable_propagation()


def refuse_missing(checkpoint: Checkpoint, missing: Sequence[str]) -> None:
    """Refuses a checkpoint that lacks weights.

    Raises:
        ModelUnavailableError: If any is named.
    """
    if missing:
        raise ModelUnavailableError(
            f"{checkpoint.name} lacks {len(missing)} of the network's weights, {missing[0]} among them: "
            "it is part of a checkpoint, or one of another network; copy the whole"
        )


def _said_by_library(checkpoint: Checkpoint, error: Exception) -> str:
    """Why a library cannot make a network of a checkpoint that is whole."""
    import torch

    if any(isinstance(each, torch.OutOfMemoryError | MemoryError) for each in causes_of(error)):
        return f"there is not enough memory for {checkpoint.name}: give it another device, or a smaller dtype"
    return (
        f"{checkpoint.name} cannot be loaded, so it is another version of the model, or not whole: "
        f"{sentence_of(error)}"
    )


def _config_of(name: str, folder: Path) -> dict[str, Any]:
    """What a folder says about the model in it."""
    path = next((folder / each for each in _CONFIGS if (folder / each).is_file()), None)
    if path is None:
        raise ModelUnavailableError(
            f"{name} holds no {' or '.join(_CONFIGS)}: it is no checkpoint, or was not copied as a whole"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelUnavailableError(f"{path.name} of {name} is damaged: copy it again") from error
    if not isinstance(config, dict):
        raise ModelUnavailableError(f"{path.name} of {name} describes no model: copy it again")
    return config


def _check_weights(checkpoint: Checkpoint) -> None:
    """Refuses a checkpoint without weights, with a part that is missing, or with one that is cut."""
    from safetensors import SafetensorError, safe_open

    files = sorted(checkpoint.folder.rglob("*.safetensors"))
    if not files:
        raise ModelUnavailableError(
            f"{checkpoint.name} holds no weights (*.safetensors): they were not copied, or are pickles, "
            "which are never read because they may run anything"
        )
    for index in checkpoint.folder.rglob("*.safetensors.index.json"):
        try:
            wanted = {
                str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            }
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ModelUnavailableError(
                f"{index.relative_to(checkpoint.folder)} of {checkpoint.name} is damaged: copy it again"
            ) from error
        if absent := sorted(name for name in wanted if not (index.parent / name).is_file()):
            raise ModelUnavailableError(
                f"{checkpoint.name} lacks {', '.join(absent)}: copy all parts of the weights"
            )
    for file in files:
        try:
            with safe_open(file, framework="np") as held:
                held.keys()
        except (SafetensorError, OSError) as error:
            raise ModelUnavailableError(
                f"{file.relative_to(checkpoint.folder)} of {checkpoint.name} is damaged or cut short: copy it again"
            ) from error
