"""What a command answers."""

from __future__ import annotations

from typing import NamedTuple


class Answer(NamedTuple):
    code: int
    out: str
    err: str
