"""`plantain serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from plantain.deploy.cli.options import ConfigFile, ExecutorName, OtherModel, Out, Replace, put
from plantain.deploy.standard import ensure_temporary, tell
from plantain.operators.errors import UsageError

if TYPE_CHECKING:
    from plantain.pipeline.config import PipelineConfig


def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 if left out.")] = None,
    port: Annotated[int | None, typer.Option(help="8000 if left out; 0 for any that is free.")] = None,
    token_file: Annotated[
        str | None, typer.Option(help="File that holds the token which clients must give.")
    ] = None,
    output: Out = None,
    model: OtherModel = None,
    executor: Annotated[
        ExecutorName | None, typer.Option(help="ray: a Ray Serve application; threads: all in this process.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster.")] = None,
    replace: Replace = False,
) -> None:
    """Answer questions about pictures, clips and cameras over HTTP, with a page to look at."""
    from plantain.pipeline.config import check, plain

    settings: dict[str, Any] = plain(config) if config is not None else {}
    settings.setdefault("streams", [])
    settings.setdefault("executor", "ray")
    if executor is not None or address is not None:
        settings["executor"] = str(executor or ExecutorName.RAY)
    put(settings, "serve", host=host, port=port, token_file=token_file)
    put(settings, "output", out=output, replace=replace or None)
    put(settings, "model", name=model)
    put(settings, "ray", address=address)
    from plantain.pipeline.checking import check_run
    from plantain.pipeline.video import build_graph

    checked = check(settings, str(config or "command line"), may_be_idle=True)
    check_run(checked)
    build_graph(checked, is_managed=True)  # its mistakes are named before anything is started
    _serve(checked)


def _serve(config: PipelineConfig) -> None:
    ensure_temporary(config.output.out)
    import structlog  # not for `plantain models`, which is to come at once

    models = ", ".join(dict.fromkeys(model.name for model in config.pools.values()))
    structlog.get_logger().info(
        "starting", model=models, streams=len(config.streams), executor=config.executor
    )
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
    from plantain.deploy.service.listening import listener

    with listener(config.serve) as probe:
        port = int(probe.getsockname()[1])
    return config.model_copy(update={"serve": config.serve.model_copy(update={"port": port})})


def _say(address: str) -> None:
    tell(f"ready on {address}  (the interface: {address}/docs)")
