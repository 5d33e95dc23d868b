"""No secret of an invented address is shown, wherever it is in it and whatever characters it is made of."""

from __future__ import annotations

import string
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from plantain.operators.redaction import place_of, redact, shown
from plantain.operators.sources import names_of

# Telling words that appear nowhere else, joined by what passwords are made of.
_WORD = st.text("XQZJVWK", min_size=4, max_size=7)
_JOINTS = st.sampled_from([*"/@: ?#&=_%+!$*~^.,;'|\\-", "//", "://", "@@", "/@", ": "])
secrets = st.lists(st.tuples(_WORD, _JOINTS), min_size=1, max_size=3).map(
    lambda parts: ("".join(word + joint for word, joint in parts)[:-1], [word for word, _ in parts])
)
schemes = st.sampled_from(
    ["rtsp", "rtsps", "http", "https", "s3", "gs", "abfs", "udp", "tcp", "RTSP", "redis"]
)
hosts = st.sampled_from(
    ["10.0.0.7", "cam-3.example.org", "nvr", "[fe80::1]", "239.0.0.1:1234", "cam:554", "localhost:8000"]
)
paths = st.sampled_from(["", "/", "/live", "/ch1/main", "/front%20door", "/a/b.m3u8", "/clip 1.mp4"])
users = st.sampled_from(["admin", "", "my user", "u", "viewer@site", "a.b-c"])
names = st.sampled_from(
    ["pwd", "password", "loginpas", "auth", "access_token", "sig", "X-Amz-Signature", "k", "whatever", "Key"]
)


@st.composite
def addresses(draw: st.DrawFn, *, blanks: bool = True) -> tuple[str, list[str]]:
    """An address, and the words that must not be seen of it."""
    secret, words = draw(secrets)
    if not blanks:  # in a text, nobody can tell where an address with blanks ends
        secret = secret.replace(" ", "+")
    scheme, host, path, user, name = draw(st.tuples(schemes, hosts, paths, users, names))
    path, user = (path, user) if blanks else (path.replace(" ", "_"), user.replace(" ", "_"))
    match draw(st.sampled_from(["password", "token", "query", "fragment", "pairs", "quoted", "segment"])):
        case "password":
            return f"{scheme}://{user}:{secret}@{host}{path}", words
        case "token":
            return f"{scheme}://{secret.replace('//', '/')}@{host}{path}", words
        case "query":
            return f"{scheme}://{user and 'u@'}{host}{path}?x=1&{name}={secret}", words
        case "fragment":
            return f"{scheme}://{host}{path}#{name}={secret}", words
        case "pairs":
            return f"{scheme}://{host}/user={user}_password={secret}_channel=1.sdp", words
        case "quoted":
            return f"{scheme}://{quote(user)}:{quote(secret, safe='')}@{host}{path}", words
        case _:
            return f"{scheme}://{host}/live/admin/{secret}/{name}", words


@given(addresses())
@settings(max_examples=500, deadline=None)
def test_no_secret_of_an_address_is_shown(made: tuple[str, list[str]]) -> None:
    address, words = made
    said = shown(address)
    assert not [word for word in words if word in said]
    assert shown(said) == said
    assert said.partition("://")[0] == address.partition("://")[0]


@given(
    addresses(blanks=False),
    st.sampled_from(["{}", "'{}': gone", "cannot open {}; see (docs)", "[{}] 1, 2", "a {}\nb"]),
)
@settings(max_examples=500, deadline=None)
def test_no_secret_of_an_address_in_a_text_is_shown(made: tuple[str, list[str]], sentence: str) -> None:
    address, words = made
    said = redact(sentence.format(address))
    assert not [word for word in words if word in said]
    assert redact(said) == said


@given(addresses())
@settings(max_examples=300, deadline=None)
def test_no_name_of_a_stream_holds_a_secret(made: tuple[str, list[str]]) -> None:
    address, words = made
    assert not [word for word in words for part in place_of(address) if word in part]
    (name,) = names_of([address])
    assert not [word for word in words if word in name]
    assert name[0] in string.ascii_letters


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_can_be_read(text: str) -> None:
    said = redact(text)
    assert redact(said) == said
    assert shown(shown(text)) == shown(text)
