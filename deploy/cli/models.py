"""The commands `plantain models`: what can answer, what it asks for, and whether it would run here."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from plantain.deploy.cli.options import JobOut, JobSocket, Json, options_of, told
from plantain.operators.errors import ModelUnavailableError, UsageError
from plantain.operators.models import BACKENDS, how_to_install, missing_modules, whole_of
from plantain.operators.models.base import ModelSpec
from plantain.operators.models.here import Cuda, has_gpu, machine_gb, memory_gb, obstacles
from plantain.operators.models.page import commercial, size_of

models = typer.Typer(
    help="List every backend; fetch one's weights; check whether one would run here; give a running job other weights.",
    invoke_without_command=True,
    no_args_is_help=False,
)
out = Console(highlight=False)
gpu = Cuda()

Name = Annotated[str, typer.Argument(help="One of 'plantain models', a repository owner/name, or a folder.")]
Revision = Annotated[str, typer.Option(help="Of the repository: a commit, tag or branch.")]


@models.callback()
def listed(context: typer.Context, as_json: Json = False) -> None:
    """List every backend: tasks, size, licence, needs, and whether it runs here."""
    if context.invoked_subcommand is not None:
        return
    rows = [_row(name, spec) for name, spec in BACKENDS.items()]
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    for row in rows:
        spec = whole_of(BACKENDS[row["name"]])
        here = "runs here" if not row["obstacles"] else f"not here: {'; '.join(row['obstacles'])}"
        if row["missing"]:
            here += f": {how_to_install(spec)}"
        size = f"; parameters {row['size']}" if row["size"] else ""
        source = f" from {row['source']}" if row["source"] else ""
        source += f" with {', '.join(row['members'])}" if row["members"] else ""
        out.print(f"[bold]{row['name']}[/bold]  {escape(here)}", soft_wrap=True)
        out.print(f"    {row['summary']}", soft_wrap=True, markup=False)
        out.print(
            f"    tasks {' '.join(row['tasks'])}; licence {row['licence']}, commercial use "
            f"{row['commercial']}{size}{source}; device {row['device']}; needs {' '.join(row['needs']) or 'nothing'}",
            soft_wrap=True,
            markup=False,
        )


@models.command()
def fetch(name: Name, revision: Revision = "") -> None:
    """Bring a backend's weights into the cache, so that it runs without a network."""
    from plantain.operators.models.loading import located

    for source, of in _sources(name, revision):
        found = located(source, of)
        if found.brings_code:  # which only lies there, until the option trust_remote_code is given
            found = located(source, of, has_code=True)
        size_gb = sum(path.stat().st_size for path in found.folder.rglob("*") if path.is_file()) / 1e9
        version = f", commit {found.commit}" if found.commit else ""
        out.print(
            f"{source} is here and whole: {size_gb:.2f} GB in {found.folder}{version}",
            soft_wrap=True,
            markup=False,
        )


@models.command()
def check(name: Name, revision: Revision = "", as_json: Json = False) -> None:
    """Say whether a backend would run here: extras, licence, weights, disk, memory, device; exit code 1 if not."""
    spec = whole_of(BACKENDS.get(name, ModelSpec(needs=BACKENDS["transformers"].needs, extra="models")))
    findings = [
        _extras(spec),
        _licence(spec),
        *(
            (what, is_fine, f"{member}: {said}")
            for member in spec.members
            for what, is_fine, said in [_licence(BACKENDS[member])]
        ),
        *(_elsewhere() if spec.is_hosted else _here(name, spec, revision)),
    ]
    if as_json:
        rows = [{"what": what, "is_fine": is_fine, "detail": detail} for what, is_fine, detail in findings]
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        for what, is_fine, detail in findings:
            out.print(f"{'ok' if is_fine else 'no':4}{what:9}{detail}", soft_wrap=True, markup=False)
    if not all(is_fine for _, is_fine, _ in findings):
        raise typer.Exit(1)


@models.command()
def swap(
    option: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="Options of the model, such as weights=FILE.")
    ],
    model: Annotated[str, typer.Option(help="Which of 'models:' of the job; its first if left out.")] = "",
    control: JobSocket = None,
    output: JobOut = None,
) -> None:
    """Give a running job other weights: each copy changes between two batches, and no frame is lost."""
    from plantain.pipeline.commands import Swap

    told(control, output, Swap(options_of(option), model))
    out.print("every copy has them; the rows say which answered (model_fingerprint)", soft_wrap=True)


def _row(name: str, spec: ModelSpec) -> dict[str, Any]:
    whole = whole_of(spec)
    missing = missing_modules(whole)
    return {
        "name": name,
        "summary": spec.summary,
        "tasks": [str(task) for task in spec.tasks],
        "licence": spec.licence,
        "commercial": commercial(spec.weights),
        "size": size_of(spec.weights),
        "source": spec.weights.source,
        "members": list(spec.members),
        "needs": list(whole.needs),
        "device": "GPU" if whole.weights.needs_gpu else "CPU or GPU",
        "shown": spec.weights.shown,
        "usable": not missing,
        "missing": missing,
        "obstacles": obstacles(whole, missing),
    }


def _sources(name: str, revision: str) -> list[tuple[str, str]]:
    """Where the weights of a backend and of its members come from, and which version of them is wanted.

    Raises:
        UsageError: If there are none to fetch.
    """
    if name not in BACKENDS:
        if "/" in name or Path(name).is_dir():
            return [(name, revision)]
        raise UsageError(
            f"model '{name}' is unknown: use one of 'plantain models', or a repository owner/name"
        )
    spec = BACKENDS[name]
    sources = [
        (spec.weights.source, revision),
        *((BACKENDS[each].weights.source, "") for each in spec.members),
    ]
    if not any(source for source, _ in sources):
        raise UsageError(f"model '{name}' has nothing to fetch: its weights come with it, or by an option")
    return [(source, of) for source, of in sources if source]


Finding = tuple[str, bool, str]
"""What was looked at, whether it is fine, and what is to be said of it."""


def _elsewhere() -> list[Finding]:
    """What a hosted model asks of this machine."""
    return [("weights", True, "on its server; nothing but a connection is needed here")]


def _here(name: str, spec: ModelSpec, revision: str) -> list[Finding]:
    """What a model asks of this machine."""
    return [*_weights(name, spec, revision), _memory(spec), *_device(spec)]


def _extras(spec: ModelSpec) -> Finding:
    missing = missing_modules(spec)
    if missing:
        return "extras", False, f"{', '.join(missing)} missing: {how_to_install(spec)}"
    return "extras", True, f"{', '.join(spec.needs) or 'nothing'} needed, all here"


def _licence(spec: ModelSpec) -> Finding:
    said = f"{spec.licence or 'of the checkpoint'}; commercial use: {commercial(spec.weights)}"
    if spec.weights.is_gated:
        page = f"huggingface.co/{spec.weights.source}"
        said += f"; gated: accept its terms at {page}, and give the account's token in HF_TOKEN"
    return "licence", True, said


def _weights(name: str, spec: ModelSpec, revision: str) -> list[Finding]:
    """Whether they are here and whole, and if not, whether they would fit; the hub is not asked."""
    if name in BACKENDS and not spec.weights.source and not spec.members:
        return [("weights", True, "they come with it, or by the option checkpoint")]
    if missing_modules(BACKENDS["transformers"]):
        return [("weights", False, "cannot be looked for without the extras")]
    from huggingface_hub import constants

    from plantain.operators.models.loading import located

    findings: list[Finding] = []
    for source, of in _sources(name, revision):
        try:
            findings.append(("weights", True, f"whole, in {located(source, of, offline=True).folder}"))
        except ModelUnavailableError as error:
            findings.append(("weights", False, str(error)))
    if all(is_fine for _, is_fine, _ in findings):
        return findings
    cache = Path(constants.HF_HUB_CACHE)
    there = next(each for each in (cache, *cache.parents) if each.exists())
    free_gb, wanted_gb = shutil.disk_usage(there).free / 1e9, spec.weights.parameters_m * 4 / 1e3
    said = f"{free_gb:.0f} GB free in {cache}, up to {wanted_gb:.1f} needed"
    return [*findings, ("disk", free_gb > wanted_gb, said)]


def _memory(spec: ModelSpec) -> Finding:
    wanted_gb, total_gb = memory_gb(spec), machine_gb()
    said = f"about {wanted_gb:.1f} GB" if wanted_gb else "by the checkpoint"
    return "memory", wanted_gb <= total_gb, f"{said} for one copy, {total_gb:.0f} GB in this machine"


def _device(spec: ModelSpec) -> list[Finding]:
    """Whether there is the device that it takes, and of a GPU whether one copy has room on it now."""
    found = None if missing_modules(BACKENDS["embedded"]) else gpu.memory_gb()
    here = (
        "a GPU is here"
        if found
        else "no GPU here"
        if not has_gpu()
        else "a GPU is here that torch cannot use"
    )
    if found is None:
        needed = "takes a GPU" if spec.weights.needs_gpu else "runs on a processor, faster on a GPU"
        return [("device", not spec.weights.needs_gpu, f"{needed}; {here}")]
    (free_gb, whole_gb), wanted_gb = found, memory_gb(spec)
    said = f"about {wanted_gb:.1f} GB" if wanted_gb else "by the checkpoint"
    room = f"{said} for one copy, {free_gb:.0f} of {whole_gb:.0f} GB free on the GPU"
    return [("device", True, here), ("gpu", wanted_gb <= free_gb, room)]
