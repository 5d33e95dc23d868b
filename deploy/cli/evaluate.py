"""`plantain eval`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status

from plantain.deploy.cli.options import Json, Model, ModelOptions, options_of
from plantain.deploy.cli.scores import table_of
from plantain.operators.errors import UsageError

_NUM_SCENES = 200


def evaluate(
    model: Model = "embedded",
    model_option: ModelOptions = None,
    scenes: Annotated[
        int, typer.Option(min=1, max=_NUM_SCENES, help="Scenes of the test split, a frame of each.")
    ] = 100,
    weights: Annotated[
        Path | None, typer.Option(help="Weights file for the embedded model, such as 'train' writes.")
    ] = None,
    assets: Annotated[
        Path | None, typer.Option(help="Folder of meshes to render with; none if left out.")
    ] = None,
    streets: Annotated[
        Path | None,
        typer.Option(
            help="Instead, measure classes on a folder of real pictures that are labelled in part, by source."
        ),
    ] = None,
    clips: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead, look at real clips (files, folders, globs): a page of pictures, and how steady "
            "the answers are."
        ),
    ] = None,
    generate: Annotated[
        bool,
        typer.Option(
            help="Instead, draw pictures from descriptions of held-out scenes: a page of them, and what of the words "
            "is recognised."
        ),
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of the page about --clips or --generate.")] = Path("out"),
    as_json: Json = False,
) -> None:
    """Measure a model, here or on a server, on rendered streets that no training ever shows, with exact labels.

    What it cannot answer is left out and counted; where its budget is spent, it is asked no more.
    """
    if assets is not None and not assets.is_dir():
        raise UsageError(f"--assets {assets} is no folder")
    options = _options(model, weights, assets) | options_of(model_option)
    if streets is not None:
        _score_streets(model, options, streets, as_json=as_json)
        return
    if clips:
        _look(model, options, clips, out, as_json=as_json)
        return
    if generate:
        _draw(model, options, scenes, out, as_json=as_json)
        return
    from plantain.deploy.lab.scoring import scores_of
    from plantain.operators.models import load_model, spec_of
    from plantain.operators.models.plantain.evaluation.evaluate import evaluate as measure

    spec = spec_of(model, options)
    with closing(load_model(model, options)) as backend, _busy(f"{model}: {scenes} scenes"):
        figures = measure(
            backend,
            scenes,
            size_hw=spec.model_hw,
            assets=assets,
            tasks=spec.tasks,
            takes_lens=spec.takes_lens,
        )
    if as_json:
        sys.stdout.write(json.dumps(_json_of(figures)) + "\n")
        return
    console = Console(highlight=False)
    console.print(f"[bold]{model} on {figures['num_scenes']} held-out scenes[/bold]", soft_wrap=True)
    console.print(table_of(scores_of(figures), console.width))
    spent_ms = figures["model_ms_per_frame"]
    console.print(
        f"{figures['model_fingerprint']}, {spent_ms:.0f} ms a frame with all its questions", soft_wrap=True
    )
    _print_account(console, figures)


def _print_account(console: Console, account: Mapping[str, Any]) -> None:
    """What the answers cost, which questions have none, and why no more were asked; nothing where all is well."""
    lines = [f"cost {account['cost_usd']:.4f} USD"] if account["cost_usd"] else []
    lines += [
        f"{count} of {account['num_asked']} questions without an answer: {reason}"
        for reason, count in account["failed"].items()
    ]
    if account["stopped"]:
        lines.append(f"stopped early, and measured is what came before: {account['stopped']}")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def _score_streets(model: str, options: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    """Real pictures, labelled in part."""
    from plantain.deploy.cli.scores import streets_of
    from plantain.operators.models import load_model, spec_of
    from plantain.operators.models.plantain.evaluation.street_scores import street_scores

    spec = spec_of(model, options)
    with closing(load_model(model, options)) as backend, _busy(f"{model}: {folder}"):
        figures = street_scores(backend, folder, spec.model_hw, spec.fit)
    if as_json:
        sys.stdout.write(json.dumps(_json_of(figures)) + "\n")
        return
    console = Console(highlight=False)
    console.print(streets_of(figures, console.width))
    console.print(f"{figures['model_fingerprint']}", soft_wrap=True)
    _print_account(console, figures)


def _json_of(figures: Any) -> Any:
    """The same with null where something could not be measured."""
    if isinstance(figures, dict):
        return {name: _json_of(value) for name, value in figures.items()}
    return _finite(figures) if isinstance(figures, (float, list)) else figures


def _look(model: str, options: dict[str, Any], clips: list[str], out: Path, *, as_json: bool) -> None:
    """Real clips, without labels."""
    from plantain.deploy.cli.scores import steadiness_of
    from plantain.deploy.lab.footage import look
    from plantain.operators.models import load_model, spec_of
    from plantain.operators.models.plantain.evaluation.asking import Asking

    with closing(load_model(model, options)) as backend, _busy(model) as status:
        asking = Asking(backend)
        page, found = look(asking, spec_of(model, options), clips, out, on_progress=status.update)
    if as_json:
        told = {clip.name: clip.steadiness if not clip.error else {"error": clip.error} for clip in found}
        sys.stdout.write(json.dumps({"page": str(page), "clips": told, **asking.account}) + "\n")
        return
    console = Console(highlight=False)
    console.print(steadiness_of(found))
    console.print(f"pictures in {page}", soft_wrap=True)
    _print_account(console, asking.account)


def _draw(model: str, options: dict[str, Any], scenes: int, out: Path, *, as_json: bool) -> None:
    """Pictures from words."""
    from plantain.deploy.lab.drawings import MEANINGS, draw, written
    from plantain.operators.models import load_drawing, spec_of

    with closing(load_drawing(model, options)) as backend, _busy(f"{model}: {scenes} descriptions"):
        page, found = draw(backend, spec_of(model).model_hw, scenes, out)
    if as_json:
        told = {key: _finite(value) for key, value in found.items()}
        sys.stdout.write(json.dumps({"page": str(page), **told}) + "\n")
        return
    console = Console(highlight=False)
    for name, meaning in MEANINGS.items():
        console.print(f"{name:9} {written(found, name)}  [dim]{meaning}[/dim]", soft_wrap=True)
    console.print(f"pictures in {page}", soft_wrap=True)


def _busy(said: str) -> Status:
    """What is shown while something is measured."""
    return Console(stderr=True).status(said)


def _options(model: str, weights: Path | None, assets: Path | None) -> dict[str, Any]:
    """What the backend is made from."""
    if weights is not None and model != "embedded":
        raise UsageError(f"--weights is for the embedded model, not for '{model}'")
    if model == "fake":
        return {"split": "heldout", "assets": "" if assets is None else str(assets)}
    return {} if weights is None else {"weights": str(weights)}


def _finite(value: float | list[float]) -> float | list[float | None] | None:
    """The value as JSON can hold it: null where it could not be measured."""
    if isinstance(value, list):
        return [None if math.isnan(each) else each for each in value]
    return None if math.isnan(value) else value
