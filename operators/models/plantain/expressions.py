"""Referring expressions taken apart: what is said of a thing alone, how it compares with others, where it is.

What is not understood wholly, such as "the second car", "the bus stop" or "the person not in red", is not taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from plantain.operators.models.phrases import MAX_PHRASES
from plantain.operators.models.plantain.hues import HUES
from plantain.operators.vocabulary import CLASSES, THINGS, class_of, members_of

_PICKS = {
    "leftmost": "leftmost", "rightmost": "rightmost", "nearest": "nearest", "closest": "nearest",
    "farthest": "farthest", "furthest": "farthest", "largest": "largest", "biggest": "largest",
    "smallest": "smallest",
}  # fmt: skip
_ADJECTIVES = {
    "left": "left", "left-hand": "left", "right": "right", "right-hand": "right", "middle": "middle",
    "central": "middle",
}  # fmt: skip
_SIDES = {"left", "right"}

# What may follow on the thing or on its place: else it is part of another word, as in "bus stop" or "the middle lane".
_PREPOSITIONS = {
    "in", "on", "at", "with", "near", "behind", "next", "beside", "by", "who", "that", "which", "and", "to", "from",
    "under", "over", "across", "along", "between", "before", "after",
}  # fmt: skip
_END = rf"(?=$| (?:{'|'.join(sorted(_PREPOSITIONS))}|\w+ing)\b)"
_PLACES = {
    "left": re.compile(rf" (?:on|at|to) (?:the )?(?:far )?left(?:[- ]hand)?(?: side)?{_END}"),
    "right": re.compile(rf" (?:on|at|to) (?:the )?(?:far )?right(?:[- ]hand)?(?: side)?{_END}"),
    "middle": re.compile(rf" in (?:the )?(?:middle|cent(?:re|er)){_END}"),
    "nearest": re.compile(
        rf" (?:(?:closest|nearest) to (?:the )?(?:camera|viewer)|in (?:the )?(?:foreground|front)){_END}"
    ),
    "farthest": re.compile(rf" in (?:the )?(?:background|distance){_END}"),
}
_RELATION = re.compile(
    r"(?P<who>.+?) (?:(?:(?:to|on) )?(?:the )?(?P<side>left|right)(?: side)? of"
    r"|(?P<where>nearest to|closest to|next to|beside|near|behind|in front of))"
    r" (?P<anchor>(?!(?:the )?(?:camera|viewer)\b).+)"
)
_BESIDE = {"nearest to", "closest to", "next to", "beside", "near"}
_REWORDED = (
    (re.compile(r" (?:of|in) (?:the )?(?:picture|image|frame|scene|screen|photo|view)$"), ""),
    (re.compile(r"\b(?:furthest|farthest) to the (left|right)\b"), r"\1most"),
    (re.compile(r"\b(nearest|closest) (?!to\b)((?:\S+ ){1,3}?)to (?=\S)"), r"\2\1 to "),
    (re.compile(r"(?<= )(nearest|closest) (the|a)\b"), r"\1 to \2"),
)
_NOT_UNDERSTOOD = re.compile(
    r"\b(?:not|no|without|except|other|another|last|first|second|third|fourth|fifth|\d+(?:st|nd|rd|th))\b"
)
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_ARTICLES = {"a", "an", "the", "any"}
_ALL = {"all", "every", "each"}
_MANY = {"people", "men", "women", "children"}
_ABOVE = {
    "shirt", "t-shirt", "jacket", "coat", "top", "sweater", "jumper", "hoodie", "vest", "dress", "blouse", "suit",
    "uniform", "clothes", "jersey",
}  # fmt: skip
_BELOW = {"trousers", "pants", "jeans", "skirt", "shorts"}


@dataclass(frozen=True, slots=True)
class Expression:
    """What a referring expression says.

    Attributes:
        words: What it says of the thing alone: "red car", "person with orange umbrella".
        kind: Class of countable things that it names, or word for several, such as "vehicle".
        colour: Word for one of HUES that it shows, "" if none is named.
        part: What shows it: whole, upper or lower of what persons wear, or carried.
        side: Half of the picture that it is in: left, right or "".
        pick: How it compares with the others of its kind: leftmost, rightmost, middle, nearest, farthest, largest,
            smallest or "".
        relation: Where it is from another thing: left, right, behind, in front of, beside or "".
        anchor: The other thing, which is in no relation to a third one.
        is_many: It speaks of all that fit, as in "the red cars".
    """

    words: str
    kind: str
    colour: str = ""
    part: str = "whole"
    side: str = ""
    pick: str = ""
    relation: str = ""
    anchor: Expression | None = None
    is_many: bool = False

    @property
    def asked(self) -> tuple[tuple[str, str], ...]:
        """What the network is asked, as (task word, phrase): the region, the things, and where it counts how far."""
        things = [self] if self.anchor is None else [self, self.anchor]
        own = [pair for each in things for pair in (("refer", each.words), ("instances", each.kind))]
        return (*own, ("depth", "")) if self.is_about_distance else tuple(own)

    @property
    def is_about_distance(self) -> bool:
        """Whether somebody has to know how far things are."""
        picks = {self.pick, self.anchor.pick if self.anchor else ""}
        return bool(picks & {"nearest", "farthest"}) or self.relation in ("beside", "behind", "in front of")


@dataclass(frozen=True, slots=True)
class _Noun:
    """Where words name a class of countable things.

    Attributes:
        first: Its first word.
        last: The word behind it.
        kind: The class.
        is_many: It is a plural.
    """

    first: int
    last: int
    kind: str
    is_many: bool


@lru_cache(MAX_PHRASES)
def parsed(text: str) -> Expression | None:
    """An expression taken apart; None where it names no countable thing, or says more than is understood."""
    said = " ".join(text.lower().split())
    for pattern, better in _REWORDED:
        said = pattern.sub(better, said)
    if _NOT_UNDERSTOOD.search(said):
        return None
    relation, anchor = "", None
    if found := _RELATION.fullmatch(said):
        anchor = None if _RELATION.fullmatch(found["anchor"]) else parsed(found["anchor"])
        if anchor is None:
            return None
        relation = found["side"] or ("beside" if found["where"] in _BESIDE else found["where"])
        said = found["who"]
    places, said = _places(said)
    words = [word for word in _WORD.findall(said) if word not in _ARTICLES]
    is_all = bool(words) and words[0] in _ALL
    words = words[is_all:]
    told = {index: _PICKS[word] for index, word in enumerate(words) if word in _PICKS}
    noun = _noun(words, told)
    if noun is None:
        return None
    for index in range(noun.first - 1, -1, -1):
        if words[index] in _ADJECTIVES:
            told[index] = _ADJECTIVES[words[index]]
        elif index not in told and _hue(words[index]) is None:
            break
    colour, part = _colour(words, noun)
    is_many = is_all or noun.is_many
    pick = next((each for each in (*told.values(), *places) if each not in _SIDES), "")
    if (relation == "beside" and (is_many or pick)) or (is_many and pick and pick in places):
        return None  # how near is that?
    return Expression(
        words=" ".join(word for index, word in enumerate(words) if index not in told),
        kind=noun.kind,
        colour=colour,
        part=part,
        side=next((each for each in (*places, *told.values()) if each in _SIDES), ""),
        pick=pick,
        relation=relation,
        anchor=anchor,
        is_many=is_many,
    )


def _places(said: str) -> tuple[list[str], str]:
    """Where in the picture a thing is said to be, and what else is said."""
    places: list[str] = []
    for place, pattern in _PLACES.items():
        shorter = pattern.sub("", said)
        if shorter != said:
            rest, said = _places(shorter)
            return [place, *rest], said
    return places, said


def _noun(words: Sequence[str], told: dict[int, str]) -> _Noun | None:
    """The first class of countable things that words name; None if that is part of another word."""
    for first in range(len(words)):
        if words[first] == "of":
            return None
        for last in (first + 2, first + 1):
            name = " ".join(words[first:last])
            one = next((each for each in _singular(name) if _kind_of(each)), "")
            kind = _kind_of(name) or _kind_of(one)
            if not kind or last > len(words):
                continue
            follows = words[last] if last < len(words) else "in"
            is_apart = (
                follows in _PREPOSITIONS or follows.endswith(("ing", "ed")) or last in told or _hue(follows)
            )
            return _Noun(first, last, kind, bool(one) or words[first] in _MANY) if is_apart else None
    return None


def _kind_of(name: str) -> str:
    """The class of countable things that a word names, the word itself where it names several such, else ""."""
    kinds = {CLASSES[index] for index in members_of(name)}
    return (class_of(name) or name) if kinds and kinds <= THINGS else ""


def _singular(name: str) -> tuple[str, ...]:
    """What a word may be the plural of."""
    ends = (("ies", "y"), ("es", ""), ("s", ""))
    return tuple(name.removesuffix(end) + better for end, better in ends if name.endswith(end))


def _hue(word: str) -> str | None:
    """The colour that a word means: "red", "dark-red"."""
    last = word.rsplit("-", 1)[-1]
    return last if last in HUES else None


def _colour(words: Sequence[str], noun: _Noun) -> tuple[str, str]:
    """The first colour that words say of the thing itself, and what of it shows that."""
    for index, word in enumerate(words):
        colour = _hue(word)
        if colour is None:
            continue
        if index < noun.first:
            return colour, "whole"
        behind = []  # what has this colour
        for following in words[index + 1 :]:
            if following in _PREPOSITIONS or following.endswith("ing"):
                break
            behind.append(following)
        before = next(
            (each for each in reversed(words[:index]) if each in _PREPOSITIONS or each.endswith("ing")), ""
        )
        if any(_kind_of(each) for each in behind):
            continue
        if noun.kind != "person":
            if not behind:
                return colour, "whole"
        elif any(each in _BELOW for each in behind):
            return colour, "lower"
        elif any(each in _ABOVE for each in behind) or before in ("in", "wearing"):
            return colour, "upper"
        elif before in ("with", "carrying", "holding"):
            return colour, "carried"
    return "", "whole"
