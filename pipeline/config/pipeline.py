"""The whole file: every section, what must go together, and the streams with their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationInfo, model_validator

from plantain.operators.errors import UsageError
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import shown
from plantain.operators.sources import names_of, urls_of
from plantain.operators.streams import StreamSpec
from plantain.pipeline.config.analytics import AnalyticField
from plantain.pipeline.config.engine import BatchConfig, OverloadConfig, RayConfig, ReadConfig
from plantain.pipeline.config.model import ModelConfig
from plantain.pipeline.config.output import OutputConfig
from plantain.pipeline.config.prompts import AskedOf, Cadences, PromptField, split_prompts
from plantain.pipeline.config.section import Section
from plantain.pipeline.config.serve import ServeConfig
from plantain.pipeline.config.stream import StreamConfig, location_of, mark_of

ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class PipelineConfig(Section):
    """Everything that a run is made of."""

    streams: tuple[StreamConfig, ...] = Field(description="What is watched.")
    prompts: tuple[PromptField, ...] = Field(default=(), description="What is asked of every stream.")
    cadences: Cadences = Field(default={})
    asked_of: AskedOf = Field(default={})
    model: ModelConfig = Field(default=ModelConfig(), description="Who answers.")
    models: dict[ModelName, ModelConfig] = Field(
        default={},
        description="Several models side by side, by name, instead of `model`; the first one answers prompts that name "
        "none. Each has its own copies, canvas and batches, and a slow one holds up no other.",
    )
    batch: BatchConfig = Field(default=BatchConfig(), description="When waiting frames become a batch.")
    read: ReadConfig = Field(default=ReadConfig(), description="Decoding.")
    output: OutputConfig = Field(default=OutputConfig(), description="Where results go.")
    track: bool = Field(default=True, description="Give instances an identity over time.")
    analytics: tuple[AnalyticField, ...] = Field(
        default=(),
        description="What else is made of the answers over time, in this order; a name alone is short for "
        "one without options.",
    )
    executor: Literal["inline", "threads", "ray"] = Field(
        default="threads", description="Where workers live."
    )
    stop_timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="Told to stop, a run finishes what is in flight for no longer than this, says what it left, and "
        "the next start goes on there, seconds.",
    )
    ray: RayConfig = Field(default=RayConfig(), description="The cluster.")
    serve: ServeConfig = Field(default=ServeConfig(), description="The service.")
    overload: OverloadConfig = Field(
        default=OverloadConfig(), description="What live streams give up under overload."
    )

    @property
    def has_threads(self) -> bool:
        """Whether the stages work in threads of one process."""
        return self.executor == "threads" or (self.executor == "ray" and self.ray.stages == "threads")

    @property
    def pools(self) -> dict[str, ModelConfig]:
        """The models, by the name of the stage that runs each: `infer`, or `infer-NAME` where they have names."""
        return {f"infer-{name}": model for name, model in self.models.items()} or {"infer": self.model}

    def pools_of(self, stream: StreamConfig) -> tuple[tuple[str, str], ...]:
        """Which stage answers each prompt of a stream that names a model."""
        named = {**({} if stream.prompts else self.asked_of), **stream.asked_of}
        return tuple((prompt, f"infer-{name}") for prompt, name in sorted(named.items()))

    @model_validator(mode="before")
    @classmethod
    def _split(cls, data: Any) -> Any:
        return split_prompts(data)

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> PipelineConfig:
        mistakes = []
        if not self.streams and not (info.context or {}).get("may_be_idle"):
            mistakes.append("streams: name at least one")
        for k, stream in enumerate(self.streams):
            mistakes += self._mistakes_in(stream, f"streams.{k}")
        if self.models and "model" in self.model_fields_set:
            mistakes.append("model: models are named already; write either model or models")
        streams = Counter(stream.id for stream in self.streams if stream.id is not None)
        mistakes.extend(
            f"streams: two streams are called {name}" for name, count in sorted(streams.items()) if count > 1
        )
        analytics = Counter(analytic.name for analytic in self.analytics)
        mistakes.extend(
            f"analytics: {name} is named twice" for name, count in sorted(analytics.items()) if count > 1
        )
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _mistakes_in(self, stream: StreamConfig, where: str) -> list[str]:
        """What of a stream does not fit the rest."""
        prompts = [str(prompt) for prompt in stream.prompts or self.prompts]
        mistakes = []
        if not prompts:
            mistakes.append(
                f"{where}: nothing is asked of {shown(stream.url)}; add prompts there or at the top"
            )
        if stream.watch and (stream.source or stream.id is None or "://" in stream.url):
            mistakes.append(
                f"{where}.watch: {shown(stream.url)} must be a folder of this machine, with an id and without a source"
            )
        if unasked := sorted({*stream.cadences} - {*prompts}):
            mistakes.append(f"{where}.cadences: {unasked[0]} is not asked of {shown(stream.url)}")
        mistakes += [
            f"{where}: {prompt} is asked of '{name}', and models has {', '.join(self.models) or 'none'}"
            for prompt, name in {**self.asked_of, **stream.asked_of}.items()
            if name not in self.models
        ]
        if len({*prompts}) != len(prompts):
            mistakes.append(f"{where}: the same prompt is asked twice of {shown(stream.url)}")
        return mistakes

    def fitting(self, stream: StreamConfig) -> StreamConfig:
        """The stream, which is added or changed.

        Raises:
            UsageError: If it does not fit the rest.
        """
        if mistakes := self._mistakes_in(stream, str(stream.id)):
            raise UsageError("; ".join(mistakes))
        return stream

    def named(
        self, known: Mapping[tuple[str, str], str] | None = None, located: Mapping[str, str] | None = None
    ) -> list[StreamConfig]:
        """The streams, with folders and globs expanded, each with one URL and a name; without those of watched folders.

        Args:
            known: Names that streams have already, by their URL and options (`mark_of`); no other stream gets one.
            located: The same by where they are (`location_of`), for what is spelled otherwise than before.

        Raises:
            UsageError: If a folder holds no video, or two streams come to the same name.
        """
        streams = [stream for stream in self.streams if not stream.watch]
        meant = [
            [stream.url] if stream.id is not None or stream.source else urls_of(stream.url)
            for stream in streams
        ]
        nameless = [
            (url, stream.options)
            for stream, urls in zip(streams, meant, strict=True)
            for url in urls
            if stream.id is None and not stream.source
        ]
        names = _names_of(nameless, known or {}, located or {})
        found: list[StreamConfig] = []
        for stream, urls in zip(streams, meant, strict=True):
            if stream.id is not None or stream.source:
                found.append(stream.model_copy(update={"id": stream.id or f"stream{len(found)}"}))
                continue
            found += [stream.model_copy(update={"id": names[url], "url": url}) for url in urls]
        taken = Counter(str(stream.id) for stream in found)
        if twice := sorted(name for name, count in taken.items() if count > 1):
            raise UsageError(f"two streams are called {', '.join(twice)}: give them an id, or name each once")
        return found

    def pinned(self, known: Mapping[tuple[str, str], str], located: Mapping[str, str]) -> PipelineConfig:
        """The same with a name for each stream; see `named`."""
        return self.model_copy(update={"streams": (*self.named(known, located), *self.watched)})

    @property
    def watched(self) -> tuple[StreamConfig, ...]:
        """The folders that recordings come into."""
        return tuple(stream for stream in self.streams if stream.watch)

    def specs(self) -> list[tuple[StreamSpec, tuple[Prompt, ...]]]:
        """The streams as their sources take them, and what is asked of each.

        Raises:
            UsageError: See `named`.
        """
        return [(stream.spec(), stream.prompts or self.prompts) for stream in self.named()]

    def named_one(self, stream: StreamConfig) -> StreamConfig:
        """A further stream, with a name.

        Raises:
            UsageError: If it stands for several, or does not fit the rest.
        """
        found = self.model_copy(update={"streams": (stream,)}).named()
        if len(found) != 1:
            raise UsageError(f"{shown(stream.url)} stands for {len(found)} streams; add them one by one")
        return self.fitting(found[0])


def _names_of(
    inputs: Sequence[tuple[str, Mapping[str, str]]],
    known: Mapping[tuple[str, str], str],
    located: Mapping[str, str],
) -> dict[str, str]:
    """Names of inputs by their URL: what has one keeps it, and what is one file under two spellings has one."""
    names: dict[str, str] = {}
    here: dict[str, str] = {}
    others: list[tuple[str, str]] = []
    for url, options in inputs:
        if (name := known.get(mark_of(url, options))) is None:
            others.append((url, location_of(url, options)))
        else:
            names[url] = name
            here[location_of(url, options)] = name
    given = set(names.values())
    new: dict[str, str] = {}
    for url, location in others:
        name = here.get(location) or located.get(location)
        if name is None or (name in given and location not in here):
            new.setdefault(location, url)
        else:
            names[url] = name
    fresh = dict(zip(new, names_of([*new.values()], taken=known.values()), strict=True))
    return {url: fresh[location] for url, location in others if location in fresh} | names
