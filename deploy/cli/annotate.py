"""`plantain annotate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from plantain.operators.redaction import shown


def annotate(
    config: Annotated[Path, typer.Argument(help="YAML file: files to look at, and a model of Gemini's.")],
    max_usd: Annotated[float, typer.Option(min=0.0, help="What is sent may cost no more, US dollars.")],
    every: Annotated[float, typer.Option(min=0.0, help="Look for answers every so many seconds.")] = 60.0,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Come back when all is sent; the same command goes on later.")
    ] = False,
) -> None:
    """Annotate recordings in Gemini's batch mode: half the price, answers within hours; goes on where it was."""
    from plantain.deploy.batches import annotate as run
    from plantain.pipeline.config import load

    checked = load(config)
    console = Console(highlight=False, stderr=True)
    say = lambda sentence: console.print(sentence, soft_wrap=True, markup=False)  # noqa: E731 - a sentence is printed
    outcome = run(checked, max_usd, every_s=every, waits=not no_wait, say=say)
    out = Console(highlight=False)
    if outcome == "out":
        out.print("answers are still to come: the same command goes on", soft_wrap=True)
        return
    out.print(f"results in {shown(checked.output.out)}", soft_wrap=True)
    raise typer.Exit(outcome.exit_code)
