"""Whatever stands in the options of hosted models and combinations is taken, or refused in a sentence, beforehand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantain.operators.errors import UsageError
from plantain.operators.models import spec_of
from plantain.operators.models.base import ModelSpec

SECRET = "AIzaSyNotARealKey0123456789abcdefghijk"
SERVER = {"base_url": "http://127.0.0.1:1/v1", "model": "qwen"}
GOOD: dict[str, dict[str, Any]] = {
    "images-api": {**SERVER, "steps": 4, "usd_per_answer": 0.1, "max_usd_per_hour": 1},
    "chat": {**SERVER, "max_tokens": 5, "temperature": 0.1},
    "gemini": {"max_usd_per_hour": 1, "model": "gemini-3.8-flash", "api_version": "v1"},
    "gemini-image": {"max_usd_per_hour": 1, "image_size": "1K", "usd_per_answer": 0.1},
    "router": {"routes": {"depth": "fake", "refer:*bus*": {"name": "fake", "options": {}}}, "rest": "fake"},
    "specialists": {"tasks": ["depth"], "routes": {"depth": "fake"}},
    "gate": {"model": "fake", "presence": "fake", "how": "find", "threshold": 0.5, "every_s": 1},
    "rewriting": {"model": "fake", "rewriter": "fake", "what": "all", "every_s": 1},
    "voting": {"model": "fake", "votes": 3},
}
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 300),
    st.floats(),
    st.sampled_from(
        ["", "fake", "depth", "http://[", "http://h/?key=1", "1e9", "*", SECRET, "refer:*", "router"]
    ),
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "options", "depth", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("name", list(GOOD))
def test_good_options_are_taken(name: str) -> None:
    assert isinstance(spec_of(name, GOOD[name]), ModelSpec)


@pytest.mark.parametrize("name", list(GOOD))
@given(data=st.data())
def test_any_options_are_taken_or_refused_in_a_sentence(name: str, data: st.DataObject) -> None:
    options = dict(GOOD[name])
    for _ in range(data.draw(st.integers(1, 2))):
        key = data.draw(st.sampled_from([*options, "key_env", "at_once", "timeout_s", "colour"]))
        options[key] = data.draw(ANYTHING)
    said = ""
    try:
        spec_of(name, options)
    except UsageError as error:
        said = str(error)
    assert "\n" not in said
    if options.get("key_env") == SECRET:
        assert said
        assert SECRET not in said.replace(f"'{options.get('model')}'", "")
