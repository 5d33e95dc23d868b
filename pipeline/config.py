"""The YAML file as checked, frozen models; nothing else in Plantain reads YAML.

Every mistake is reported at once, each with its path and what to do (`load`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from operators.errors import PromptError, UsageError, redact
from operators.prompts import Prompt
from operators.sources import expand
from operators.sources.base import Sampling, StreamSpec

# Stream names become folder names `stream_id=NAME`; one that starts with a letter is never read as a number or a date.
STREAM_ID = re.compile(r"^[A-Za-z][A-Za-z0-9._-]{0,99}$")

# depth@1fps, normals@every5
CADENCE = re.compile(r"^(?P<prompt>.+)@(?:(?P<fps>\d+(?:\.\d+)?)fps|every(?P<every>\d+))$", re.DOTALL)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _prompt(written: object) -> object:
    if isinstance(written, Mapping):
        raise ValueError("a prompt with a cadence is written {prompt: depth, fps: 1}, or with every")
    if not isinstance(written, str):
        return written
    try:
        return Prompt.parse(written)
    except PromptError as error:
        raise ValueError(str(error)) from error


def _stream_id(name: str) -> str:
    if not STREAM_ID.match(name):
        raise ValueError(f"'{name}' must start with a letter and hold only letters, digits, '.', '_' and '-'")
    return name


class CadenceConfig(_Section):
    """How often a prompt is asked, of the frames that are looked at."""

    fps: float | None = Field(default=None, gt=0, description="At most this many times per second.")
    every: int = Field(default=1, ge=1, description="Of every n-th of them.")


def _split_cadences(data: Any) -> Any:
    """Prompts with a cadence (`{prompt: depth, fps: 1}`, `depth@1fps`, `depth@every5`) as prompts and cadences."""
    if not isinstance(data, Mapping) or not isinstance(data.get("prompts"), list | tuple):
        return data
    prompts: list[object] = []
    cadences: dict[str, object] = {}
    for written in data["prompts"]:
        text, how = _cadence(written)
        try:
            prompt = _prompt(text)
        except ValueError:
            prompts.append(text)  # said with its place when that is checked
            continue
        prompts.append(prompt)
        if how:
            cadences[str(prompt)] = how
    return {**data, "prompts": prompts, "cadences": {**dict(data.get("cadences") or {}), **cadences}}


def _cadence(written: object) -> tuple[object, dict[str, object]]:
    """A prompt, and how often it is asked."""
    if isinstance(written, Mapping) and "prompt" in written:
        return written["prompt"], {str(key): value for key, value in written.items() if key != "prompt"}
    if isinstance(written, str) and (found := CADENCE.match(written)):
        return found["prompt"], {"fps": found["fps"]} if found["fps"] else {"every": found["every"]}
    return written, {}


PromptField = Annotated[Prompt, BeforeValidator(_prompt)]
StreamId = Annotated[str, AfterValidator(_stream_id)]


class StreamConfig(_Section):
    """One camera or file."""

    url: str = Field(
        min_length=1, description="Path, rtsp://..., synthetic://... or what `source` understands."
    )
    id: StreamId | None = Field(
        default=None, description="Its name in every row; from the file's name if left out."
    )
    source: str = Field(
        default="", description="Name of the source or module:Class; chosen by the url if left out."
    )
    prompts: tuple[PromptField, ...] = Field(
        default=(), description="What is asked of it, instead of the common prompts."
    )
    cadences: dict[str, CadenceConfig] = Field(
        default={},
        description="By prompt, how often it is asked; shorter: {prompt: depth, fps: 1} in `prompts`.",
    )
    fps: float | None = Field(
        default=None, gt=0, description="Look at no more than this many frames per second."
    )
    every: int = Field(default=1, ge=1, description="Look at every n-th frame.")
    max_frames: int | None = Field(default=None, ge=1, description="Stop after this many frames.")
    options: dict[str, str] = Field(default={}, description="Passed to the source.")

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        return _split_cadences(data)

    @property
    def sampling(self) -> Sampling:
        """Which frames are looked at."""
        return Sampling(self.fps, self.every, self.max_frames)

    def spec(self) -> StreamSpec:
        """As its source takes it; it must have a name by now."""
        assert self.id is not None
        return StreamSpec(self.id, self.url, self.source, self.sampling, dict(self.options))

    def changed(self, changes: Mapping[str, Any]) -> StreamConfig:
        """The same stream with other settings.

        Raises:
            UsageError: If one is unknown or makes no sense.
        """
        settings = {name: getattr(self, name) for name in type(self).model_fields}
        if "prompts" in changes:
            settings["cadences"] = {}
        try:
            return StreamConfig.model_validate({**settings, **changes})
        except ValidationError as error:
            raise UsageError("; ".join(_mistakes(error))) from error


class CanvasConfig(_Section):
    """The picture that the model sees."""

    width: int = Field(ge=16, le=4096, description="Pixels.")
    height: int = Field(ge=16, le=4096, description="Pixels.")
    fit: Literal["letterbox", "stretch"] = Field(
        default="letterbox", description="Keep the aspect ratio, or fill."
    )


class ReplicasConfig(_Section):
    """How many copies of the weights there are; between the bounds by how long frames wait for them."""

    min: int = Field(default=1, ge=1, description="Copies that are always there.")
    max: int = Field(default=1, ge=1, description="Copies that there may be.")

    @model_validator(mode="after")
    def _check(self) -> ReplicasConfig:
        if self.max < self.min:
            raise ValueError(f"max is {self.max}, and must not be below min, which is {self.min}")
        return self


def _replicas(written: object) -> object:
    """A number is short for as many, always."""
    if isinstance(written, bool) or not isinstance(written, int):
        return written
    if written < 1:
        raise ValueError(f"{written} is too few: at least 1")
    return {"min": written, "max": written}


class ModelConfig(_Section):
    """The generalist."""

    name: str = Field(default="embedded", description="One of `plantain models`, or module:Class.")
    options: dict[str, Any] = Field(default={}, description="Passed to the backend.")
    replicas: Annotated[ReplicasConfig, BeforeValidator(_replicas)] = Field(
        default=ReplicasConfig(), description="Copies of the weights: a number, or min and max."
    )
    cpus: float | None = Field(
        default=None, gt=0, description="CPU cores that one copy may use; all if left out."
    )
    gpus: float = Field(default=0.0, ge=0, description="GPUs that one copy needs.")
    canvas: CanvasConfig | None = Field(
        default=None, description="What the model sees; its own favourite if left out."
    )


class BatchConfig(_Section):
    """When waiting frames become a batch."""

    max_items: int = Field(default=8, ge=1, description="Frames in a batch.")
    max_drawings: int = Field(default=64, ge=1, description="Drawings (frames x prompts) in a batch.")
    max_wait_ms: float = Field(
        default=50.0, ge=0, description="A frame waits no longer than this for company."
    )


class ReadConfig(_Section):
    """Decoding."""

    workers: int | None = Field(
        default=None, ge=1, description="Readers; one per CPU core, at most one per stream."
    )
    chunk_frames: int = Field(default=8, ge=1, description="Frames that a reader delivers at a time.")
    max_frames_in_flight: int = Field(
        default=256, ge=8, description="Frames between decoder and sink; bounds memory."
    )


class KafkaSecurityConfig(_Section):
    """How Kafka is logged in to."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="What the brokers speak."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="Of the SASL protocols."
    )
    username: str | None = Field(default=None, description="Of the login.")
    password: SecretStr | None = Field(default=None, description="Of the login.")
    password_file: str | None = Field(default=None, description="File that holds the password instead.")
    ca_file: str | None = Field(default=None, description="PEM of who signs the brokers' certificates.")
    cert_file: str | None = Field(default=None, description="PEM of the own certificate.")
    key_file: str | None = Field(default=None, description="PEM of its key.")
    check_hostname: bool = Field(
        default=True, description="Whether a broker must be called as it is certified."
    )

    @model_validator(mode="after")
    def _check(self) -> KafkaSecurityConfig:
        has_password = self.password is not None or self.password_file is not None
        if self.protocol.startswith("SASL") and not (self.mechanism and self.username and has_password):
            raise ValueError(f"{self.protocol} needs mechanism, username, and password or password_file")
        return self

    def options(self) -> dict[str, Any]:
        """As the sink takes it, with the password in the clear."""
        password = None if self.password is None else self.password.get_secret_value()
        if self.password_file is not None:
            try:
                password = Path(self.password_file).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise UsageError(f"output.kafka.security.password_file cannot be read: {error}") from error
        return self.model_dump(exclude={"password", "password_file"}) | {"password": password}


class KafkaConfig(_Section):
    """The sink `kafka`."""

    bootstrap: str = Field(
        default="127.0.0.1:9092", min_length=1, description="host:port of some brokers, separated by commas."
    )
    topic_prefix: str = Field(
        default="plantain",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Topics are called PREFIX.predictions.",
    )
    transactional: bool = Field(
        default=False, description="For files: whoever reads committed messages sees each frame exactly once."
    )
    rasters: Literal["drop", "embed", "refer"] = Field(
        default="drop",
        description="Dense maps: left out, embedded as base64, or named by their Parquet part.",
    )
    max_message_bytes: int = Field(default=900_000, ge=10_000, description="A larger answer goes in parts.")
    max_unacknowledged: int = Field(default=10_000, ge=1, description="Messages that may be on their way.")
    timeout_s: float = Field(default=120.0, gt=0, description="A delivery that takes longer is tried again.")
    bootstrap_timeout_ms: int = Field(
        default=30_000, ge=1, description="How long the first contact may take."
    )
    api_version: tuple[int, int] | None = Field(
        default=None, description="Of the brokers, such as [4, 0]; asked of them if left out."
    )
    security: KafkaSecurityConfig = Field(
        default=KafkaSecurityConfig(), description="How the brokers are logged in to."
    )

    def options(self) -> dict[str, Any]:
        """As the sink takes them."""
        return self.model_dump(exclude={"security"}) | {"security": self.security.options()}


class OutputConfig(_Section):
    """Where results go."""

    out: str = Field(
        default="out", description="Folder or object-store URL (s3://, gs://, abfs://) of the Parquet tables."
    )
    sinks: tuple[str, ...] = Field(
        default=("parquet",), description="parquet, kafka, memory, overlay, or module:Class."
    )
    segment_frames: int = Field(default=512, ge=1, description="Frames that become visible together.")
    rasters: bool = Field(default=True, description="Store the dense maps.")
    workers: int = Field(default=1, ge=1, description="Writers; a stream belongs to one.")
    kafka: KafkaConfig = Field(default=KafkaConfig(), description="The sink `kafka`.")

    @model_validator(mode="after")
    def _check(self) -> OutputConfig:
        if (
            "kafka" in self.sinks
            and self.kafka.rasters == "refer"
            and not ("parquet" in self.sinks and self.rasters)
        ):
            raise ValueError("kafka.rasters 'refer' needs the sink parquet, with rasters")
        return self


class RayConfig(_Section):
    """The cluster."""

    address: str | None = Field(
        default=None, description="Of a running cluster; a local Ray is started if left out."
    )


class OverloadConfig(_Section):
    """What live streams give up when frames come faster than they are answered, and when they get it back."""

    ladder: tuple[Literal["frames", "size", "tasks"], ...] = Field(
        default=("frames", "size", "tasks"),
        description="In this order: half the frames, half the width and height, half the prompts (the last ones go).",
    )
    max_age_s: float = Field(
        default=2.0,
        gt=0,
        description="Overload is when a result is older than this, or a tenth of the frames is lost.",
    )
    window_s: float = Field(default=3.0, gt=0, description="Looked at so often; one step a time.")
    recover_s: float = Field(
        default=15.0, gt=0, description="Calm for so long, a stream takes one step back."
    )


class ServeConfig(_Section):
    """The service: who may reach it, what its requests may name, and how much of it they may take."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address that it listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port; 0 for any that is free.")
    names: tuple[str, ...] = Field(
        default=(),
        description="Further host names under which clients may reach it, such as those of a proxy.",
    )
    token: SecretStr | None = Field(
        default=None, description="Asked of every client; needed where `host` is not of this machine only."
    )
    token_file: str | None = Field(default=None, description="File that holds the token instead.")
    schemes: tuple[Literal["synthetic", "rtsp", "rtsps"], ...] = Field(
        default=("synthetic",), description="Kinds of stream that a request may add."
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description="Cameras that a request may name: host names (*.example.org), addresses, networks (10.0.0.0/8).",
    )
    replicas: int = Field(default=1, ge=1, description="Processes that answer HTTP; they hold no weights.")
    max_body_bytes: int = Field(default=32 << 20, ge=1024, description="Of one request.")
    max_pixels: int = Field(default=40_000_000, ge=256, description="Of one picture, before it is decoded.")
    max_clip_frames: int = Field(default=64, ge=1, description="Of one clip that are looked at.")
    max_prompts: int = Field(default=8, ge=1, description="Of one request or stream.")
    max_text: int = Field(default=500, ge=16, description="Characters of one prompt.")
    max_requests: int = Field(
        default=64,
        ge=1,
        description="That one process works on at a time; further ones are asked to come back.",
    )
    max_viewers: int = Field(
        default=32, ge=1, description="Live views and watches that one process keeps open."
    )
    max_streams: int = Field(default=64, ge=1, description="That requests may bring the service to.")
    timeout_s: float = Field(default=30.0, gt=0, description="A query that takes longer is given up.")

    def secret(self) -> str | None:
        """The token, in the clear.

        Raises:
            UsageError: If its file cannot be read.
        """
        if self.token_file is None:
            return None if self.token is None else self.token.get_secret_value()
        try:
            return Path(self.token_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"serve.token_file cannot be read: {error}") from error


class PipelineConfig(_Section):
    """Everything that a run is made of."""

    streams: tuple[StreamConfig, ...] = Field(description="What is watched.")
    prompts: tuple[PromptField, ...] = Field(default=(), description="What is asked of every stream.")
    cadences: dict[str, CadenceConfig] = Field(
        default={},
        description="By prompt, how often it is asked; shorter: {prompt: depth, fps: 1} in `prompts`.",
    )
    model: ModelConfig = Field(default=ModelConfig(), description="Who answers.")
    batch: BatchConfig = Field(default=BatchConfig(), description="When waiting frames become a batch.")
    read: ReadConfig = Field(default=ReadConfig(), description="Decoding.")
    output: OutputConfig = Field(default=OutputConfig(), description="Where results go.")
    track: bool = Field(default=True, description="Give instances an identity over time.")
    executor: Literal["inline", "threads", "ray"] = Field(
        default="threads", description="Where workers live."
    )
    ray: RayConfig = Field(default=RayConfig(), description="The cluster.")
    serve: ServeConfig = Field(default=ServeConfig(), description="The service.")
    overload: OverloadConfig = Field(
        default=OverloadConfig(), description="What live streams give up under overload."
    )

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        return _split_cadences(data)

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> PipelineConfig:
        mistakes = []
        if not self.streams and not (info.context or {}).get("may_be_idle"):
            mistakes.append("streams: name at least one")
        for k, stream in enumerate(self.streams):
            prompts = stream.prompts or self.prompts
            if not prompts:
                mistakes.append(
                    f"streams.{k}: nothing is asked of {stream.url}; add prompts there or at the top"
                )
            unasked = sorted({*stream.cadences} - {str(prompt) for prompt in prompts})
            if unasked:
                mistakes.append(f"streams.{k}.cadences: {unasked[0]} is not asked of {stream.url}")
            if len({str(prompt) for prompt in prompts}) != len(prompts):
                mistakes.append(f"streams.{k}: the same prompt is asked twice of {stream.url}")
        names = [stream.id for stream in self.streams if stream.id is not None]
        mistakes.extend(
            f"streams: two streams are called {name}" for name in sorted({*names}) if names.count(name) > 1
        )
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def named(self) -> list[StreamConfig]:
        """The streams, with folders and globs expanded, each with one URL and a name.

        Raises:
            UsageError: If a folder holds no video, or two streams come to the same name.
        """
        found: list[StreamConfig] = []
        expanded = expand([stream.url for stream in self.streams if stream.id is None and not stream.source])
        names = {spec.url: spec.stream_id for spec in expanded}
        for stream in self.streams:
            if stream.id is not None or stream.source:
                urls = {stream.url: stream.id or f"stream{len(found)}"}
            else:
                urls = {spec.url: names[spec.url] for spec in expand([stream.url])}
            found += [stream.model_copy(update={"id": name, "url": url}) for url, name in urls.items()]
        taken = [str(stream.id) for stream in found]
        twice = sorted({name for name in taken if taken.count(name) > 1})
        if twice:
            raise UsageError(f"two streams are called {', '.join(twice)}: give them an id")
        return found

    def specs(self) -> list[tuple[StreamSpec, tuple[Prompt, ...]]]:
        """The streams as their sources take them, and what is asked of each.

        Raises:
            UsageError: See `named`.
        """
        return [(stream.spec(), stream.prompts or self.prompts) for stream in self.named()]

    def named_one(self, stream: StreamConfig) -> StreamConfig:
        """A further stream, with a name.

        Raises:
            UsageError: If it stands for several, or nothing is asked of it.
        """
        found = self.model_copy(update={"streams": (stream,)}).named()
        if len(found) != 1:
            raise UsageError(f"{redact(stream.url)} stands for {len(found)} streams; add them one by one")
        if not (stream.prompts or self.prompts):
            raise UsageError(f"nothing is asked of {redact(stream.url)}; name at least one prompt")
        return found[0]


def load(path: Path) -> PipelineConfig:
    """The configuration in a YAML file.

    Raises:
        UsageError: With every mistake, one a line, each with its path in the file.
    """
    return check(plain(path), str(path))


def plain(path: Path) -> dict[str, Any]:
    """What a YAML file says, not yet checked.

    Raises:
        UsageError: If it is no YAML mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path} must hold a mapping with at least 'streams' and 'prompts'")
    return data


def check(
    data: dict[str, Any], origin: str = "configuration", *, may_be_idle: bool = False
) -> PipelineConfig:
    """The configuration in plain data.

    Args:
        data: As YAML gives it.
        origin: Where it is from, for the message.
        may_be_idle: Whether it may be without streams, as a service that gets them later may.

    Raises:
        UsageError: With every mistake, one a line, each with its path.
    """
    try:
        return PipelineConfig.model_validate(data, context={"may_be_idle": may_be_idle})
    except ValidationError as error:
        lines = _mistakes(error)
        raise UsageError(f"{origin} has {len(lines)} mistake(s):\n" + "\n".join(lines)) from error


def stream_of(data: object) -> StreamConfig:
    """A stream in plain data.

    Raises:
        UsageError: With every mistake.
    """
    try:
        return StreamConfig.model_validate(data)
    except ValidationError as error:
        raise UsageError("; ".join(_mistakes(error))) from error


def _mistakes(error: ValidationError) -> list[str]:
    """What is wrong, one line for each mistake, with its path."""
    lines = []
    for mistake in error.errors():
        where = ".".join(str(part) for part in mistake["loc"]) or "(top)"
        message = mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] == "extra_forbidden":
            section = StreamConfig if error.title == "StreamConfig" else PipelineConfig
            message = f"unknown setting; known here: {', '.join(_known(mistake['loc'][:-1], section))}"
        elif mistake["type"] == "missing":
            message = "is required"
        lines.append(f"{where}: {message}")
    return lines


def _known(where: tuple[int | str, ...], section: Any) -> list[str]:
    """Names of the settings at a place in a section."""
    for part in where:
        if part not in getattr(section, "model_fields", {}):  # a place in a list, or a key of a mapping
            continue
        annotation = section.model_fields[part].annotation
        inner = [a for a in getattr(annotation, "__args__", (annotation,)) if isinstance(a, type)]
        section = next((a for a in inner if issubclass(a, BaseModel)), section)
    return sorted(section.model_fields)
