"""What may be said of an address: the one place that decides it.

Cameras and hosted services take passwords and keys before the host, in the query and even in the path, under any name.
So only scheme, host, port and path are shown, and the path only where it holds nothing of the kind:

    rtsp://guard:hunter2@10.0.0.5:554/ch1            rtsp://10.0.0.5:554/ch1
    rtsp://10.0.0.5/user=guard_password=hunter2_     rtsp://10.0.0.5/***
    https://host/v.m3u8?sig=ab12                     https://host/v.m3u8?***
    rtsp://guard:a/b@c@10.0.0.5/ch1                  rtsp://***               (nobody can tell where the host begins)

A login before a host is none to be shown where the two slashes are wrong or missing, either.

`shown` is for what is an address as a whole, blanks included; `redact` finds addresses in a text.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote

from plantain.operators.errors import PlantainError

HIDDEN = "***"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_SCHEME = re.compile(rf"{_NAME.pattern}\Z")
_BLANK = re.compile(r"\s|$")
# How Python names the bytes of a file name that are no UTF-8.
_LONE = re.compile("[\ud800-\udfff]")
_LINE_END = re.compile(r"://|[\r\n]|$")
_HOST = re.compile(r"(?:[\w.-]{1,253}|\[[0-9A-Fa-f:.]+(?:%\w+)?\])(?::\d{1,5})?")
# An address that is written wrongly: `rtsp:/guard:hunter2@host`, `rtsp:\\\\guard:hunter2@host`, `guard:hunter2@host`.
_ASKEW = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]{0,31}:[/\\]{1,3})[^\s/\\:@]{1,64}:\S{0,200}@\S*")
_LOGIN = re.compile(r"[/\\]{0,2}[^\s/\\:@]{1,64}:[^@]{0,200}@.*", re.DOTALL)
_QUERY = re.compile(r"[?#]")
_HEAD = re.compile(r"[^/?#\\]*")
# Words of a path or a name that introduce a secret, and parts of such words.
_WORDS = frozenset(
    ("pass", "pwd", "psw", "pw", "auth", "login", "sig", "signature", "key", "admin", "jwt", "bearer")
)
_PARTS = ("password", "passwd", "token", "secret", "credential", "apikey")
_LETTERS = re.compile(r"[a-z]+")
_PLAIN = re.compile(r"[\w .,+()~/-]*|\*\*\*")
# Keys and session tokens: long, and no word of any language. Names of recordings (dates, UUIDs) are none.
_TOKEN = re.compile(r"[0-9A-Fa-f]{32,}|(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{24,}")
# Our own scheme: its query is part of what is watched.
_SYNTHETIC = re.compile(r"\w{1,16}(?:\?(?:[a-z]{1,16}=[\w./]{1,16}&?)*)?")
# password=..., &sig=... outside of an address.
_PAIR = re.compile(r"([\w-]{1,64})=(?!\*\*\*)")
_VALUE_END = re.compile(r"[\s&]|$")
_MAX_SCHEME = 32
# What may follow an address in a sentence.
_AFTER = "'\"`.,;:!?)]}>"


def printable(text: str) -> str:
    """A name of a file as it can be written anywhere: bytes that are no UTF-8 as a backslash, `x` and two digits."""
    return _LONE.sub(_named, text)


def _named(lone: re.Match[str]) -> str:
    code = ord(lone[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def shown(address: str) -> str:
    """What may be said of an address or a path; equal for what it gives itself."""
    address = printable(address)
    scheme, found, rest = address.partition("://")
    if not found or not _NAME.fullmatch(scheme):
        if _LOGIN.fullmatch(address):
            return HIDDEN
        return _without_pairs(_ASKEW.sub(rf"\1{HIDDEN}", address), to_end=True)
    if scheme.lower() == "file":
        return f"{scheme}://{_without_pairs(rest, to_end=True)}"
    if scheme.lower() == "synthetic" and _SYNTHETIC.fullmatch(rest):
        return address
    host, tail, names = _parted(rest)
    if host is None:
        return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{host}{_tail(tail, names)}"


def redact(text: str) -> str:
    """`text` with every address in it as it may be shown, and no `password=...` beside them."""
    pieces: list[str] = []
    at, mark = 0, text.find("://")
    while mark >= 0:
        scheme = _SCHEME.search(text[max(at, mark - _MAX_SCHEME) : mark])
        if scheme is None:
            mark = text.find("://", mark + 3)
            continue
        begin, end = mark - len(scheme[0]), _end(text, mark + 3)
        pieces += [_plain(text[at:begin]), shown(text[begin:end])]
        at, mark = end, text.find("://", end)
    pieces.append(_plain(text[at:]))
    return "".join(pieces)


def _plain(text: str) -> str:
    """What stands beside addresses, as it may be shown."""
    return _without_pairs(_ASKEW.sub(rf"\1{HIDDEN}", text))


def place_of(address: str) -> tuple[str, str]:
    """Host and path of an address as far as they may be shown, each empty where it may not.

    Names of streams are made of them: they go into folders, topics and logs.
    """
    scheme, found, rest = shown(address).partition("://")
    if not found:
        return "", scheme.replace(HIDDEN, "")
    head = _HEAD.match(rest)
    assert head is not None  # it matches anything
    host, path = head[0], _QUERY.split(rest[head.end() :], maxsplit=1)[0]
    return host.replace(HIDDEN, ""), path.replace(HIDDEN, "")


def bare(address: str) -> str:
    """What an address names, without what lets one in. Not to be shown: it tells addresses apart in digests."""
    scheme, found, rest = address.partition("://")
    if not found:
        return address
    host, tail, _ = _parted(rest)
    return f"{scheme}://{host or ''}{_without_pairs(tail)}"


def _parted(rest: str) -> tuple[str | None, str, list[str]]:
    """Host and port, what follows, and the words of the login, of what follows `scheme://`.

    The host is None where it cannot be told from a password: those of users hold any character.
    """
    head = _HEAD.match(rest)
    assert head is not None  # it matches anything
    first, tail = head[0], rest[head.end() :]
    login, _, host = first.rpartition("@")
    if "@" in tail and not _is_ip(host):
        if login or tail.count("@") > 1 or _HOST.fullmatch(first):
            return None, "", []
        before, _, rest = rest.rpartition("@")  # the login holds a slash: `guard:hunt/er2`
        behind = _HEAD.match(rest)
        assert behind is not None  # it matches anything
        login, host, tail = before, behind[0], rest[behind.end() :]
    if not _HOST.fullmatch(host) and (host or not tail):
        return None, "", []
    return host, tail, [word for word in re.split(r"[:@/]", login) if len(word) > 2]


def _tail(tail: str, names: list[str]) -> str:
    """Path and query of an address as they may be shown."""
    found = _QUERY.search(tail)
    path, mark = (tail, "") if found is None else (tail[: found.start()], found[0])
    if path.strip("/") and (_is_telling(path) or any(name in path for name in names)):
        return f"/{HIDDEN}"
    return f"{path}{mark}{HIDDEN}" if mark else path


def _is_telling(path: str) -> bool:
    """Whether a path may hold a secret."""
    plain = unquote(path)
    if not _PLAIN.fullmatch(plain.replace(HIDDEN, "")):
        return True
    words = _LETTERS.findall(plain.lower())
    if any(word in _WORDS or any(part in word for part in _PARTS) for word in words):
        return True
    return any(len(part) > 23 and _TOKEN.fullmatch(part.partition(".")[0]) for part in plain.split("/"))


def _without_pairs(text: str, *, to_end: bool = False) -> str:
    """A text without what is named as a secret in it; of a path, nothing behind the first such name."""
    pieces: list[str] = []
    at = 0
    for name in _PAIR.finditer(text):
        if name.start() < at or not _is_secret(name[1]):
            continue
        found = _VALUE_END.search(text, name.end())
        assert found is not None  # the end of the text is one
        end = len(text) if to_end else found.start()
        if end > name.end():
            pieces += [text[at : name.end()], HIDDEN]
            at = end
    return "".join([*pieces, text[at:]])


def _is_secret(name: str) -> bool:
    """Whether a value of this name is a secret, whatever else the name says."""
    words = _LETTERS.findall(name.lower())
    return not _WORDS.isdisjoint(words) or any(
        part in "".join(words) for part in (*_PARTS, "pass", "pwd", "psw", "loginpas")
    )


def _is_ip(host: str) -> bool:
    """Whether a host, with or without a port, is an address in numbers, so surely a host."""
    bare = re.sub(r":\d{1,5}$", "", host) if host.count(":") == 1 or "]" in host else host
    try:
        ipaddress.ip_address(bare.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def _end(text: str, begin: int) -> int:
    """Where the address ends whose part behind `scheme://` begins at `begin`.

    At a blank; but where a login may go on behind it, behind the last `@` of the line that is no other address's.
    """
    blank = _BLANK.search(text, begin)
    assert blank is not None  # the end of the text is one
    end = blank.start()
    head = _HEAD.match(text, begin, end)
    assert head is not None  # it matches anything
    if not _is_ip(head[0].rpartition("@")[2]):
        following = _LINE_END.search(text, end)
        assert following is not None  # the end of the text is one
        last = text.rfind("@", end, following.start())
        if last >= 0:
            behind = _BLANK.search(text, last)
            assert behind is not None  # the end of the text is one
            end = behind.start()
    while end > begin and text[end - 1] in _AFTER:
        end -= 1
    return end


def first_line(error: BaseException) -> str:
    """What an error says first, without secrets."""
    return redact(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__


def sentence_of(error: Exception) -> str:
    """What went wrong, in a line without secrets; an error that nobody meant to show names its type."""
    text = redact(str(error)).strip()
    if isinstance(error, PlantainError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
