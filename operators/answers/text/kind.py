"""Words as a kind of answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from plantain.operators.answers.base import Column, Kind, Row
from plantain.operators.answers.sketch import InTile
from plantain.operators.answers.text.value import Text
from plantain.operators.prompts import Prompt


class Words(Kind[Text]):
    """What a model says to a question."""

    value = Text
    frame_columns = (Column("text", "string", "the answer to `ask:`, as the model wrote it"),)

    def summary(self, value: Text) -> Row:
        """The words."""
        return {"text": value.text}

    def read(self, row: Row, objects: Sequence[Row], raster: NDArray[Any] | None) -> Text | None:
        """From the words."""
        del objects, raster
        return None if row["text"] is None else Text(row["text"])

    def is_empty(self, value: Text) -> bool:
        """Whether it says nothing; a "no" is something."""
        return not value.text.strip()

    def words(self, prompt: Prompt, value: Text) -> str:
        """The words."""
        del prompt
        return value.text

    def in_tile(self, prompt: Prompt, value: Text) -> InTile:
        """The words, to read."""
        del prompt
        return InTile(text=value.text)
