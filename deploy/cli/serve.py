"""`plantain serve`."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plantain.deploy.cli.options import ExecutorName
from plantain.deploy.standard import tell
from plantain.operators.errors import UsageError

if TYPE_CHECKING:
    from plantain.pipeline.config import PipelineConfig


def serve(
    config: Annotated[Path | None, typer.Option(help="YAML file; options given here win over it.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 if left out.")] = None,
    port: Annotated[int | None, typer.Option(help="8000 if left out; 0 for any that is free.")] = None,
    token_file: Annotated[
        str | None, typer.Option(help="File that holds the token which clients must give.")
    ] = None,
    output: Annotated[str | None, typer.Option("--out", help="Folder or s3://, gs://, abfs:// URL.")] = None,
    model: Annotated[
        str | None, typer.Option(help="One of 'plantain models', or my_pkg.my_module:MyBackend.")
    ] = None,
    executor: Annotated[
        ExecutorName | None, typer.Option(help="ray: a Ray Serve application; threads: all in this process.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster.")] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Do streams anew whose file is another one than when it was done."),
    ] = False,
) -> None:
    """Answer questions about pictures, clips and cameras over HTTP, with a page to look at."""
    from plantain.pipeline.config import check, plain

    settings: dict[str, Any] = plain(config) if config is not None else {}
    settings.setdefault("streams", [])
    settings.setdefault("executor", "ray")
    if executor is not None or address is not None:
        settings["executor"] = str(executor or ExecutorName.RAY)
    given: dict[str, dict[str, Any]] = {
        "serve": {"host": host, "port": port, "token_file": token_file},
        "output": {"out": output, "replace": replace or None},
        "model": {"name": model},
        "ray": {"address": address},
    }
    for section, values in given.items():
        known = {name: value for name, value in values.items() if value is not None}
        if known and isinstance(settings.setdefault(section, {}), dict):
            settings[section] |= known
    from plantain.pipeline.checking import check_run
    from plantain.pipeline.video import build_graph

    checked = check(settings, str(config or "command line"), may_be_idle=True)
    check_run(checked)
    build_graph(checked, is_managed=True)  # its mistakes are named before anything is started
    _serve(checked)


def _serve(config: PipelineConfig) -> None:
    try:
        if config.executor == "ray":
            from plantain.deploy.ray.service import serve_on_ray

            serve_on_ray(_with_free_port(config), _say)
        else:
            from plantain.deploy.service.local_service import serve_here

            serve_here(config, _say)
    except ModuleNotFoundError as error:
        raise UsageError(f"the service needs {error.name}: pip install 'plantain-video[serve]'") from error


def _with_free_port(config: PipelineConfig) -> PipelineConfig:
    """Ray Serve must be told a port."""
    try:
        family = socket.AF_INET6 if ":" in config.serve.host else socket.AF_INET
        with socket.create_server((config.serve.host, config.serve.port), family=family) as probe:
            port = int(probe.getsockname()[1])
    except OSError as error:
        raise UsageError(
            f"nobody can listen on {config.serve.host}:{config.serve.port}: {error.strerror or error}; "
            "choose another --port"
        ) from error
    return config.model_copy(update={"serve": config.serve.model_copy(update={"port": port})})


def _say(address: str) -> None:
    tell(f"ready on {address}  (the interface: {address}/docs)")
