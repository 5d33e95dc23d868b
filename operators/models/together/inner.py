"""A backend inside another: how a configuration writes it, and how it is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

from plantain.operators.errors import ModelError, UsageError
from plantain.operators.models import load_model, spec_of
from plantain.operators.models.base import Answer, Answering, Forgetful, ModelSpec
from plantain.operators.models.drawn import failure_of
from plantain.operators.prompts import Prompt
from plantain.operators.retry import in_halves, retry
from plantain.operators.types import Frame


@dataclass(frozen=True)
class Choice:
    """A backend by its name.

    Attributes:
        name: As of `load_model`.
        options: What it is made with.
    """

    name: str
    options: Mapping[str, Any]

    @classmethod
    def of(cls, written: object, where: str) -> Choice:
        """The backend that a user wrote: `NAME`, or `{name: NAME, options: {...}}`.

        Args:
            written: In the options.
            where: Which option, for the message.

        Raises:
            UsageError: If it is neither.
        """
        if isinstance(written, str) and written:
            return cls(written, {})
        if isinstance(written, Mapping) and isinstance(written.get("name"), str):
            options = written.get("options", {})
            if isinstance(options, Mapping) and not {*written} - {"name", "options"}:
                return cls(written["name"], options)
        raise UsageError(f"{where} must name a backend: NAME, or {{name: NAME, options: {{...}}}}")

    @property
    def key(self) -> str:
        """Equal for backends that can be one."""
        return json.dumps([self.name, self.options], sort_keys=True, default=str)

    @property
    def spec(self) -> ModelSpec:
        """What can be said about it without loading it."""
        return spec_of(self.name, self.options)

    def load(self) -> Inner:
        """The backend, ready to answer."""
        return Inner(load_model(self.name, self.options), is_paid=self.spec.is_paid)


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """Some of the prompts that a combination is asked, by their places.

    Attributes:
        frames, image_of, prompts: As of `Answering.answer`.
        places: Of those that are asked of one backend.
    """

    frames: Sequence[Frame]
    image_of: Sequence[int]
    prompts: Sequence[Prompt]
    places: Sequence[int]


def load_all(choices: Sequence[Choice]) -> list[Inner]:
    """All of them, or none."""
    made: list[Inner] = []
    try:
        for choice in choices:
            made.append(choice.load())  # noqa: PERF401 - those that are there are closed where another one fails
    except Exception:
        for inner in made:
            inner.close()
        raise
    return made


class Inner:
    """Asks a backend; whatever it raises fails its own prompts, so that nothing else is asked again.

    As everywhere, one that is free is asked again in halves, until the bad frames stand alone; one that is paid is not.

    Args:
        model: Who answers.
        is_paid: Its answers cost money.
    """

    def __init__(self, model: Answering, *, is_paid: bool = False) -> None:
        self.model = model
        self.is_paid = is_paid
        self.name, self.fingerprint = model.name, model.fingerprint

    def ask(self, asked: Asked) -> dict[int, Answer]:
        """Answers by their places; each says who gave it."""
        frame_of = asked.image_of.__getitem__
        by_frame = [(k, list(of_one)) for k, of_one in groupby(sorted(asked.places, key=frame_of), frame_of)]
        if not by_frame:
            return {}
        frames = asked.frames
        work = partial(self._answers, frames, asked.prompts)
        if self.is_paid:
            try:
                groups = work(by_frame)
            except Exception as error:  # noqa: BLE001 - a user's backend may raise anything; it fails its own prompts
                groups = self._failed(by_frame, error)
        else:
            groups = in_halves(work, by_frame, self._failed)
        return {place: self.signed(answer) for group in groups for place, answer in group.items()}

    def forget(self, stream_id: str) -> None:
        """Forgets what is kept about a stream."""
        if isinstance(self.model, Forgetful):
            self.model.forget(stream_id)

    def close(self) -> None:
        """Gives back what it holds."""
        self.model.close()

    def _answers(
        self, frames: Sequence[Frame], prompts: Sequence[Prompt], groups: Sequence[tuple[int, list[int]]]
    ) -> list[dict[int, Answer]]:
        """Answers to the prompts of each frame, by their place."""
        places = [place for _, each in groups for place in each]
        ask = partial(
            self.model.answer,
            [frames[k] for k, _ in groups],
            [k for k, (_, each) in enumerate(groups) for _ in each],
            [prompts[place] for place in places],
        )
        try:
            answers = ask() if self.is_paid else retry(ask, self.name)
            if len(answers) != len(places):
                raise ModelError(f"model {self.name} gave {len(answers)} answers to {len(places)} prompts")
        except Exception:
            # Some of the frames it may have taken already: asked again, it would take them twice.
            for stream_id in {frames[k].header.stream_id for k, _ in groups}:
                self.forget(stream_id)
            raise
        given = iter(answers)
        return [{place: next(given) for place in each} for _, each in groups]

    def _failed(self, groups: Sequence[tuple[int, list[int]]], error: Exception) -> list[dict[int, Answer]]:
        return [{place: Answer(failure_of(error)) for place in places} for _, places in groups]

    def signed(self, answer: Answer) -> Answer:
        """An answer that says who gave it."""
        return replace(
            answer, model=answer.model or self.name, fingerprint=answer.fingerprint or self.fingerprint
        )
