"""Weights of the diffusers library: that none is random, and those that are added to others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plantain.operators.errors import ModelUnavailableError
from plantain.operators.models.hub import fetched
from plantain.operators.models.loading import Checkpoint, digest_of, log_as_ours, made, refuse_missing


def pipeline_of(checkpoint: Checkpoint, cls: Any, parts: Sequence[str], **options: Any) -> Any:
    """A pipeline with all of its weights.

    Args:
        checkpoint: Where they are.
        cls: Its class.
        parts: Names of the networks in it that are the library's own.
        options: Of `from_pretrained`.

    Raises:
        ModelUnavailableError: If it cannot be made, or a weight is missing: it would be random.
    """
    from diffusers.utils import logging

    log_as_ours(logging)
    pipeline = made(
        checkpoint, lambda: cls.from_pretrained(checkpoint.folder, local_files_only=True, **options)
    )
    for part in parts:
        _refuse_random(checkpoint, part, getattr(pipeline, part))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def adapted(pipeline: Any, lora: str, scale: float, *, offline: bool) -> str:
    """Adds low-rank weights to a pipeline's own for good; their digest.

    Args:
        pipeline: The pipeline.
        lora: Folder or file, or repository, `owner/name` or `owner/name@revision`.
        scale: How strongly.
        offline: Only what is on this machine.

    Raises:
        ModelUnavailableError: If they cannot be had, or fit another network.
    """
    path = Path(lora).expanduser()
    folder = path if path.exists() else fetched(lora, offline=offline, has_names=False)
    files = [folder] if folder.is_file() else sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise ModelUnavailableError(
            f"{lora} holds {len(files)} files *.safetensors, and the option lora takes one: name the file"
        )
    (file,) = files
    held = Checkpoint(lora, file.parent, "", {})

    def add() -> None:
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name, local_files_only=True)
        if not any(pipeline.get_list_adapters().values()):
            raise ModelUnavailableError(
                f"{lora} holds no low-rank weights of this network: take one made for it"
            )
        pipeline.fuse_lora(lora_scale=scale)
        pipeline.unload_lora_weights()

    made(held, add)
    return digest_of(file.parent, [file]) if path.is_file() else held.digest()


def _refuse_random(checkpoint: Checkpoint, part: str, network: Any) -> None:
    """Refuses a network with weights that the files in its folder do not hold."""
    from safetensors import safe_open

    held: set[str] = set()
    for file in (checkpoint.folder / part).glob("*.safetensors"):
        with safe_open(file, framework="np") as opened:
            held |= set(opened.keys())
    refuse_missing(checkpoint, sorted({name for name, _ in network.named_parameters()} - held))
