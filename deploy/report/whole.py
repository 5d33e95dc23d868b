"""A page of HTML that needs no other file: style inside, nothing to fetch."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from importlib import resources


def style() -> str:
    """What all pages look like."""
    return (resources.files("plantain.deploy.service") / "web" / "report.css").read_text(encoding="utf-8")


def cards(figures: Iterable[tuple[str, str]]) -> str:
    """A few large numbers, each with what it counts."""
    numbers = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in figures)
    return f"<div class='cards'>{numbers}</div>"


def page(title: str, skip: str, header: str, main: str, footer: str = "") -> str:
    """The whole page.

    Args:
        title: As text.
        skip: What readers of the page by ear can skip to.
        header: HTML of what stands on top.
        main: HTML of the rest.
        footer: HTML behind who made it and when.
    """
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style()}</style></head><body>"
        f'<a class="skip" href="#main">Skip to the {skip}</a><header>{header}</header>'
        f'<main id="main">{main}</main><footer>Made by Plantain, {made}.{footer}</footer></body></html>\n'
    )
