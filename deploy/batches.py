"""Annotation in a provider's batch mode: what a run would ask is collected, sent, waited for, and stored as by any run.

Each step can be the last: begun again, the command goes on where it was, and sends nothing twice.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from plantain.deploy.job import run_job
from plantain.operators.errors import ModelBusyError, ModelLostError, UsageError
from plantain.operators.models import load_model
from plantain.operators.models.hosted.gemini_batch import BATCHED, Batched
from plantain.operators.retry import retry
from plantain.operators.sources import is_live
from plantain.pipeline.config import PipelineConfig
from plantain.pipeline.config.model import ModelConfig
from plantain.pipeline.runner import Outcome

FOLDER = Path(".plantain") / "batch"


def annotate(
    config: PipelineConfig,
    max_usd: float,
    *,
    every_s: float = 60.0,
    waits: bool = True,
    say: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome | Literal["out"]:
    """Runs a configuration of files in batch mode.

    Args:
        config: What to run; all of its models are Gemini's.
        max_usd: What is sent now may cost no more.
        every_s: How often to look whether answers are there, seconds.
        waits: False to come back when everything is sent.
        say: Takes a sentence on how it goes.
        sleep: How to wait.

    Returns:
        What came of the run that stored the answers; `"out"` if they are still to come.

    Raises:
        UsageError: If it cannot be run so, or may cost more.
        ModelError: If the server does not take it.
    """
    _check(config)
    batched = config.model_copy(
        update={
            "model": _batched(config, "infer", config.model),
            "models": {name: _batched(config, name, model) for name, model in config.models.items()},
            "executor": "threads",
        }
    )
    models = [_load(model) for model in batched.pools.values()]
    try:
        while True:
            if not _are_here(models, every_s if waits else None, say, sleep):
                return "out"
            _collect(batched)
            wanted_usd = sum(model.max_usd() for model in models)
            if not wanted_usd:
                return run_job(batched)
            if wanted_usd > max_usd:
                raise UsageError(
                    f"the batch may cost up to {wanted_usd:.2f} USD, and --max-usd is {max_usd:g}: "
                    "allow more, or ask less"
                )
            sent = sum(retry(model.batches().send, "batch", sleep) for model in models)
            say(f"{sent} requests are sent; they may cost up to {wanted_usd:.2f} USD")
    finally:
        for model in models:
            model.close()


def _are_here(
    models: list[Batched], every_s: float | None, say: Callable[[str], None], sleep: Callable[[float], None]
) -> bool:
    """Whether all that was sent is answered; waits for it if `every_s` is given."""
    while True:
        out = 0
        for model in models:
            try:
                out += model.batches().take()
            except (ModelBusyError, ModelLostError) as error:  # asking costs nothing: once more
                say(str(error))
                out += 1
        if not out:
            return True
        say(f"{out} batches are not answered yet")
        if every_s is None:
            return False
        sleep(every_s)


def _collect(config: PipelineConfig) -> None:
    """Lets a run ask everything and store nothing."""
    with tempfile.TemporaryDirectory(prefix="plantain-batch-") as folder:
        output = config.output.model_copy(update={"out": folder, "sinks": ("memory",), "rasters": False})
        run_job(config.model_copy(update={"output": output, "track": False, "analytics": ()}))


def _check(config: PipelineConfig) -> None:
    """Refuses what batches are not for.

    Raises:
        UsageError: With what to do instead.
    """
    if "://" in config.output.out:
        raise UsageError("a batch is kept in a folder of this machine: choose a local --out")
    for model in config.pools.values():
        if model.name not in BATCHED:
            raise UsageError(
                f"model '{model.name}' has no batch mode: use {' or '.join(BATCHED)} here, and plantain run for others"
            )
    if any(is_live(spec) for spec, _ in config.specs()):
        raise UsageError("a camera cannot be read twice: record it, and annotate the recording")


def _batched(config: PipelineConfig, name: str, model: ModelConfig) -> ModelConfig:
    """A model that answers out of a store of its own."""
    if model.name not in BATCHED:
        return model
    store = Path(config.output.out) / FOLDER / name
    options = {**model.options, "store": str(store)}
    return model.model_copy(update={"name": BATCHED[model.name], "options": options})


def _load(model: ModelConfig) -> Batched:
    made = load_model(model.name, model.options)
    assert isinstance(made, Batched)  # as BATCHED says
    return made
