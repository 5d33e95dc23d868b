"""Pictures that a model drew from words: what of the words is recognised in them, and a page to judge them by eye."""

from __future__ import annotations

from html import escape
from pathlib import Path

from plantain.deploy.report import gallery, whole
from plantain.operators.models.base import ModelBackend
from plantain.operators.models.plantain.evaluation.recognition import Drawing, drawings, recognised
from plantain.operators.sinks.store import write_durably

FILE = "drawings.html"
NUM_SHOWN = 24

MEANINGS = {
    "drawn": "of the classes that the words name, found in the picture drawn for them",
    "chance": "the same, looked for in a picture drawn for other words",
    "rendered": "the same, looked for in the rendered scene that the words describe",
}


def draw(
    backend: ModelBackend, model_hw: tuple[int, int], num_scenes: int, out: Path
) -> tuple[Path, dict[str, float | list[float]]]:
    """Draws pictures for descriptions of held-out scenes and writes a page about them.

    Args:
        backend: The model.
        model_hw: Its canvas.
        num_scenes: How many descriptions.
        out: Folder of the page, `drawings.html`.

    Returns:
        Where the page is, and the shares by the names of `MEANINGS`, each with `<name>_ci`.

    Raises:
        ModelError: If the backend draws no pictures.
        SinkError: If the page cannot be written.
    """
    made = drawings(backend, num_scenes, model_hw)
    found = recognised(backend, made)
    path = out / FILE
    write_durably(path, _page(backend, made, found).encode())
    return path, found


def written(found: dict[str, float | list[float]], name: str) -> str:
    """A share with its interval."""
    low, high = found[f"{name}_ci"]  # type: ignore[misc]  # a pair, as `metrics.summary` gives it
    return f"{found[name]:.2f} ({low:.2f} to {high:.2f})"


def _page(backend: ModelBackend, made: list[Drawing], found: dict[str, float | list[float]]) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{name}<span class='dim'>{meaning}</span></th>"
        f"<td class='number'>{written(found, name)}</td></tr>"
        for name, meaning in MEANINGS.items()
    )
    shown = "".join(
        f"<figure>{gallery.picture(each.drawn, each.description)}<figcaption>{escape(each.description)}"
        "</figcaption></figure>"
        for each in made[:NUM_SHOWN]
    )
    header = (
        "<p class='eyebrow'>Plantain draws</p>"
        f"<h1>Pictures from words</h1><p class='lead'>What <b>{escape(backend.name)}</b> "
        f"<span class='dim'>({escape(backend.fingerprint)})</span> drew for {len(made)} descriptions of streets that "
        "it never saw, and how many of the named classes its own perception finds.</p>"
    )
    main = (
        "<section><h2>What is recognised</h2><table><thead><tr><th>Share of the named classes</th>"
        f"<th class='number'>found (95 % of test sets)</th></tr></thead><tbody>{rows}</tbody></table></section>"
        f"<section><h2>What was drawn</h2><div class='grid'>{shown}</div></section>"
    )
    return whole.page("Drawn from words", "pictures", header, main)
