"""Names of classes: what a prompt calls them, and what a checkpoint was taught to call them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from plantain.operators.models.specialists.base import Parts, Specialist
from plantain.operators.prompts import Prompt

# COCO's panoptic names say what was merged: `tree-merged`, `wall-other-merged`, `floor-other-merged`.
_MERGED = ("-other-merged", "-merged", "-other", "-stuff")


class Labels:
    """The classes of a checkpoint with a closed list.

    Args:
        names: By number, as its configuration has them (`id2label`); ADE20K's hold several, separated by commas.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._ids: dict[str, list[int]] = {}
        for number, written in names.items():
            for name in _names_in(str(written)):
                self._ids.setdefault(name, []).append(int(number))

    def ids(self, name: str) -> list[int]:
        """Numbers of the classes that are called so; none for an unknown name."""
        return self._ids.get(_plain(name), [])

    def refusal(self, prompt: Prompt, who: str) -> str:
        """Why a prompt cannot be answered; empty if each class of it is known."""
        for name in prompt.classes:
            if not self.ids(name):
                near = difflib.get_close_matches(_plain(name), self._ids, n=3) or list(self._ids)[:6]
                return (
                    f"model {who} was taught no class '{name}': it knows {len(self._ids)} names, "
                    f"such as {', '.join(near)}"
                )
        return ""

    def index_of(self, classes: Sequence[str]) -> dict[int, int]:
        """For each class number that is meant, the place of the first of `classes` that means it."""
        return {number: k for k, name in reversed(list(enumerate(classes))) for number in self.ids(name)}


class Labelled(Specialist):
    """A checkpoint with a closed list of classes.

    Attributes:
        labels: Those.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.labels = Labels(parts.network.config.id2label)

    def refusal(self, prompt: Prompt) -> str:
        """Classes that it does not know."""
        return self.labels.refusal(prompt, self.name)


def _names_in(written: str) -> list[str]:
    names = [_plain(part) for part in written.split(",") if part.strip()]
    return names + [
        name.removesuffix(suffix) for name in names for suffix in _MERGED if name.endswith(suffix)
    ]


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").split())
