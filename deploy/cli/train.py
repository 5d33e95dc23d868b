"""`plantain train`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from plantain.operators.cores import num_cores
from plantain.operators.errors import UsageError

# Training begins with the first scenes; the rendering process adds to them all the while.
_FIRST_SCENES = 12
_CAPACITY = 6000


def train(
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Budget; the rate of learning falls to zero at its end.")
    ] = 60.0,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="End after so many steps, where that comes first; 0 fits the scores of --init alone."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for scenes, checkpoints and weights.")] = Path(
        "runs/train"
    ),
    teachers: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            help="Output folder of a run, by whichever model: its answers about your own clips are learnt, "
            "starting from the packaged weights. Repeat for several.",
        ),
    ] = None,
    clips: Annotated[
        list[str] | None,
        typer.Option(help="Files or folders of the clips of --from, where they have moved since."),
    ] = None,
    streets: Annotated[
        Path | None,
        typer.Option(
            help="Folder of real pictures that are labelled in part: they are learnt beside rendered streets, starting "
            "from the packaged weights."
        ),
    ] = None,
    mix: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of rendered scenes beside --from and --streets, so that nothing is forgotten.",
        ),
    ] = 0.5,
    init: Annotated[
        Path | None,
        typer.Option(help="Weights to begin with; the packaged ones if --from or --streets is given."),
    ] = None,
    generator: Annotated[
        bool,
        typer.Option(
            "--generator",
            help="Teach drawing pictures from words, and leave everything else as it is in --init.",
        ),
    ] = False,
    finishing: Annotated[
        bool,
        typer.Option("--finishing", help="With --generator, only how its sketches become pictures: faster."),
    ] = False,
    assets: Annotated[Path | None, typer.Option(help="Folder of meshes to render with as well.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's last checkpoint.")
    ] = False,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Pictures in a step; 12 if left out, and 32 for --generator.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Train side by side; one for each core if left out.")
    ] = None,
    calibrate: Annotated[
        int, typer.Option(min=0, help="Training scenes on which scores are fitted at the end; 0 leaves them.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Of the first weights and of the order of scenes.")] = 0,
) -> None:
    """Train the embedded model: on rendered streets, labelled real ones, or another model's answers."""
    if assets is not None and not assets.is_dir():
        raise UsageError(f"--assets {assets} is no folder")
    if clips and not teachers:
        raise UsageError("--clips says where the clips of --from are: give --from as well")
    if init is not None and not init.is_file():
        raise UsageError(f"--init {init} is no file")
    if finishing and not generator:
        raise UsageError("--finishing is a part of --generator: give that as well")
    if steps == 0 and (init is None or generator or teachers or not (streets or calibrate)):
        raise UsageError(
            "--steps 0 fits the scores of --init, with --streets its lens and names, and nothing else"
        )
    if generator and (teachers or streets):
        raise UsageError("--generator learns from rendered streets only: leave --from and --streets out")
    checkpoint = out / ("generator.pt" if generator else "last.pt")
    has_checkpoint = checkpoint.is_file()
    if has_checkpoint and not resume:
        raise UsageError(f"{out} holds a checkpoint: add --resume to go on from it, or choose another --out")
    if resume and not has_checkpoint:
        raise UsageError(
            f"{out} holds no checkpoint ({checkpoint.name}) to go on from: leave --resume out to start one"
        )
    from plantain.operators.models.plantain.model import WEIGHTS
    from plantain.operators.models.plantain.training.train import FINE_TUNE_RATE, STREET_RATE, TrainOptions
    from plantain.operators.models.plantain.training.train import train as run_training

    console = Console(stderr=True, highlight=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be used: {error.strerror or error}") from error
    further: dict[str, Any] = {} if batch is None else {"batch_size": batch}
    if generator:
        from plantain.operators.models.plantain.training import drafting

        path = drafting.train(
            drafting.DraftOptions(
                folder=out,
                shards=_scenes(out, assets, console),
                init=init or WEIGHTS,
                minutes=minutes,
                steps=steps,
                seed=seed,
                finishing=finishing,
                render=True,
                assets=assets,
                **further,
            )
        )
        console.print(
            f"{path} holds the weights; look with: plantain eval --generate --weights {path}", soft_wrap=True
        )
        return
    if steps == 0 and init is not None:
        path = out / "weights.safetensors"
        path.write_bytes(init.read_bytes())
        if streets is not None:
            _fit(path, _scenes(out, assets, console), streets, console)
        if calibrate:
            _calibrate(path, calibrate, console)
        return
    if teachers:
        init = init or WEIGHTS
        further |= _lessons(teachers, out, clips or [], console)
        further["lesson_share"] = (1 - mix) / (2 if streets else 1)
    if streets is not None:
        init = init or WEIGHTS
        further |= {"streets": streets, "street_share": (1 - mix) / (2 if teachers else 1)}
    if init is not None:
        # Given weights have seen small canvases long ago.
        rate = FINE_TUNE_RATE if streets is None else STREET_RATE
        further |= {"init": init, "learning_rate": rate, "canvases": ((1.0, (224, 384)),)}
    is_rendering = not (teachers or streets) or mix > 0
    options = TrainOptions(
        folder=out,
        shards=_scenes(out, assets, console) if is_rendering else None,
        minutes=minutes,
        steps=steps,
        processes=processes or num_cores(),
        seed=seed,
        render=is_rendering,
        assets=assets,
        **further,
    )
    path = run_training(options)
    if streets is not None and options.shards is not None:
        _fit(path, options.shards, streets, console)
    if calibrate:
        _calibrate(path, calibrate, console)
    if teachers and init is not None:
        _compare(init, path, out / "lessons" / "held", console)
    console.print(
        f"{path} holds the weights; measure them with: plantain eval --weights {path}", soft_wrap=True
    )


def _calibrate(path: Path, num_scenes: int, console: Console) -> None:
    """Makes the scores of a weights file likelihoods."""
    from plantain.operators.models.plantain.training.fitting import calibrate

    with console.status(f"fitting scores on {num_scenes} training scenes"):
        calibrate(path, num_scenes)


def _fit(path: Path, scenes: Path, streets: Path, console: Console) -> None:
    """Fits the lens of a weights file, and which pixels its words name."""
    from plantain.operators.models.plantain.training.focusing import focus
    from plantain.operators.models.plantain.training.naming import name_anew

    with console.status("fitting the lens and the names of classes on rendered and real frames"):
        focus(path, scenes, streets)
        name_anew(path, scenes, streets)


def _scenes(out: Path, assets: Path | None, console: Console) -> Path:
    """A folder with rendered scenes, at least the first ones."""
    from plantain.operators.models.plantain.training import shards

    scenes = out / "scenes"
    scenes.mkdir(exist_ok=True)
    if not any(scenes.glob("*.npz")):
        console.print(f"rendering the first {_FIRST_SCENES} scenes", soft_wrap=True)
        shards.render(scenes, 0, _FIRST_SCENES, "train", _CAPACITY, assets)
    return scenes


def _lessons(teachers: list[Path], out: Path, clips: list[str], console: Console) -> dict[str, Any]:
    """The lessons of annotated folders, and the words that they use."""
    from plantain.deploy.lab.lessons import collect
    from plantain.operators.models.plantain.training.lessons import words_of

    with console.status("pairing answers with their pictures") as status:
        found = collect(
            teachers,
            out / "lessons",
            clips=clips,
            on_progress=lambda count: status.update(f"{count} annotated frames"),
        )
    for stream_id, reason in found.skipped.items():
        console.print(f"[yellow]stream {stream_id} is left out[/yellow]: {reason}", soft_wrap=True)
    for reason, count in found.unfit.items():
        console.print(f"[yellow]{count} answers are left out[/yellow]: {reason}", soft_wrap=True)
    console.print(
        f"{found.num_learn} annotated frames to learn from, {found.num_held} held back to measure with",
        soft_wrap=True,
    )
    return {"lessons": found.learn, "words": words_of(found.learn)}


def _compare(before: Path, after: Path, held: Path, console: Console) -> None:
    """Prints how well the first and the last weights agree with the answers that were held back."""
    from plantain.deploy.cli.scores import comparison_of
    from plantain.deploy.lab.scoring import scores_of
    from plantain.operators.models import load_drawing, spec_of
    from plantain.operators.models.plantain.evaluation.agreement import agreement

    if not any(held.glob("*.npz")):
        return
    figures = []
    for weights in (before, after):
        with closing(load_drawing("embedded", {"weights": str(weights)})) as backend:
            figures.append(scores_of(agreement(backend, held, spec_of("embedded").model_hw)))
    console.print("[bold]agreement with the teacher on frames that were held back[/bold]", soft_wrap=True)
    console.print(comparison_of(*figures))
