"""What all hosted backends are: options that are checked beforehand, a desk, and a request for each prompt."""

from __future__ import annotations

import base64
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, ClassVar, Generic, TypeVar

from plantain.operators.answers import kind_of
from plantain.operators.errors import PlantainError
from plantain.operators.models import BACKENDS
from plantain.operators.models.base import Answer, ModelSpec, Pixels
from plantain.operators.models.drawn import failure_of
from plantain.operators.models.hosted.api import Api
from plantain.operators.models.hosted.desk import Desk, Job
from plantain.operators.models.hosted.options import Hosting
from plantain.operators.prompts import Prompt
from plantain.operators.redaction import bare
from plantain.operators.types import Failure, Frame

O = TypeVar("O", bound=Hosting)  # noqa: E741 - of options

# What decides how fast and for how much answers come, and not what they say.
_HOW_MUCH = frozenset(field.name for field in fields(Hosting)) - {"base_url"} | {"usd_per_answer"}


class Hosted(ABC, Generic[O]):
    """A model on another machine.

    Each prompt is a request of its own. What goes wrong with it fails this prompt alone.

    Args:
        options: Of the backend's `Options`.

    Attributes:
        name: Of the backend.
        options_type: What it can be told.
        header: Makes the headers that open the API, of the key.
        options: What it was told.
    """

    name: ClassVar[str]
    options_type: ClassVar[type[Hosting]]

    def __init__(self, **options: Any) -> None:
        self.options: O = self.options_type(**options)  # type: ignore[assignment]  # as the subclass says
        self.fingerprint = fingerprint_of(self.name, self.options)
        self._api = Api(self.options, self.header)
        self._desk = Desk(self.name, self.options)

    @classmethod
    def spec_for(cls, options: Mapping[str, Any]) -> ModelSpec:
        """That of the table, once the options are checked.

        Raises:
            UsageError: If one is not possible.
        """
        cls.options_type(**options)
        return BACKENDS[cls.name]

    @staticmethod
    @abstractmethod
    def header(key: str) -> dict[str, str]:
        """The headers that open the API."""

    @abstractmethod
    def job(self, frame: Frame, prompt: Prompt, picture: Picture) -> Job:
        """The request for an answer.

        Args:
            frame: What is looked at.
            prompt: What is asked.
            picture: Of the frame, as it is sent.

        Raises:
            PlantainError: If the model has no such answer.
        """

    def picture(self, frame: Frame) -> Pixels:
        """What is sent of a frame: the picture without its bars."""
        return frame.info.fit.crop(frame.image)

    def answer(
        self, frames: Sequence[Frame], image_of: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[Answer]:
        """One answer for each prompt; see Answering."""
        return self.answers((frames[k], prompt) for k, prompt in zip(image_of, prompts, strict=True))

    def answers(self, asked: Iterable[tuple[Frame, Prompt]]) -> list[Answer]:
        """One answer for each prompt of a frame, in their order."""
        pictures: dict[int, Picture] = {}
        jobs = []
        for frame, prompt in asked:
            if id(frame) not in pictures:
                pictures[id(frame)] = Picture(self.picture(frame))
            jobs.append(self._job(frame, prompt, pictures[id(frame)]))
        return self._desk.answers(jobs)

    def close(self) -> None:
        """Ends the connections."""
        self._api.close()
        self._desk.close()

    def _job(self, frame: Frame, prompt: Prompt, picture: Picture) -> Job | Failure:
        try:
            kind_of(prompt)
            return self.job(frame, prompt, picture)
        except PlantainError as error:
            return failure_of(error)


class Picture:
    """A picture on its way out, (H, W, 3) uint8; packed once, however many requests it goes into."""

    def __init__(self, rgb: Pixels) -> None:
        from plantain.operators.answers import png  # it loads numba: not where a run is planned

        self.size_hw = (rgb.shape[0], rgb.shape[1])
        self.png = png.write(rgb)
        self._base64 = ""

    @property
    def base64(self) -> str:
        """The file as text."""
        if not self._base64:
            self._base64 = base64.b64encode(self.png).decode("ascii")
        return self._base64


def fingerprint_of(name: str, options: Hosting) -> str:
    """Equal for backends that answer alike; no key and no password goes into it."""
    told = {key: value for key, value in asdict(options).items() if key not in _HOW_MUCH}
    told["base_url"] = bare(options.base_url)
    digest = hashlib.blake2b(json.dumps(told, sort_keys=True, default=str).encode(), digest_size=8)
    return f"{name}-{digest.hexdigest()}"
