"""`plantain train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from operators.errors import UsageError

# Training begins with the first scenes; the rendering process adds to them all the while.
_FIRST_SCENES = 12
_CAPACITY = 6000


def train(
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Budget; the rate of learning falls to zero at its end.")
    ] = 60.0,
    out: Annotated[Path, typer.Option(help="Folder for scenes, checkpoints and weights.")] = Path(
        "runs/train"
    ),
    assets: Annotated[Path | None, typer.Option(help="Folder of meshes to render with as well.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's last checkpoint.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pictures in a step.")] = 12,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Train side by side; one for each core if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first weights and of the order of scenes.")] = 0,
) -> None:
    """Train the embedded model on rendered streets, from nothing or from a checkpoint."""
    if assets is not None and not assets.is_dir():
        raise UsageError(f"--assets {assets} is no folder")
    has_checkpoint = (out / "last.pt").is_file()
    if has_checkpoint and not resume:
        raise UsageError(f"{out} holds a checkpoint: add --resume to go on from it, or choose another --out")
    if resume and not has_checkpoint:
        raise UsageError(
            f"{out} holds no checkpoint (last.pt) to go on from: leave --resume out to start one"
        )
    from operators.models.plantain import shards
    from operators.models.plantain.train import TrainOptions
    from operators.models.plantain.train import train as run_training

    console = Console(stderr=True, highlight=False)
    scenes = out / "scenes"
    try:
        scenes.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be used: {error.strerror or error}") from error
    if not any(scenes.glob("*.npz")):
        console.print(f"rendering the first {_FIRST_SCENES} scenes", soft_wrap=True)
        shards.render(scenes, 0, _FIRST_SCENES, "train", _CAPACITY, assets)
    options = TrainOptions(
        folder=out,
        shards=scenes,
        minutes=minutes,
        batch_size=batch,
        processes=processes or os.cpu_count() or 1,
        seed=seed,
        render=True,
        assets=assets,
    )
    path = run_training(options)
    console.print(
        f"{path} holds the weights; measure them with: plantain eval --weights {path}", soft_wrap=True
    )
