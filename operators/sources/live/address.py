"""What kind of live stream an address means, and what FFmpeg may do to open it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["rtsp", "rtsps", "hls", "http", "udp", "tcp", "device", "realtime"]

YES = ("true", "yes", "on", "1")
NO = ("false", "no", "off", "0")

_DEVICE = re.compile(r"/dev/video\d+")


@dataclass(frozen=True, slots=True)
class Access:
    """What FFmpeg may use to open one kind of stream; everything else is refused.

    Attributes:
        protocols: How it may get at the bytes, separated by commas.
        formats: What it may find there, separated by commas.
        container: The format that it must be; empty to find out.
        options: Further options.
    """

    protocols: str
    formats: str
    container: str = ""
    options: dict[str, str] = field(default_factory=dict)


# The first half second of packets is kept while FFmpeg looks for the parameters; counting the frame rate as well
# (fpsprobesize) took 0.8 s more until the first frame (2026-11, gst-rtsp-server on loopback).
_RTSP = {"analyzeduration": "500000", "fpsprobesize": "0", "allowed_media_types": "video"}
_TRANSPORT_STREAM = {"analyzeduration": "1000000", "fpsprobesize": "0"}
# Room for 0.5 s of 8 Mb/s while the decoder is busy; a datagram that finds no room is lost, not an error.
_DATAGRAMS = {"buffer_size": "524288", "overrun_nonfatal": "1"}
_SEGMENTS = "mpegts,mov,mp4,m4a,3gp,3g2,mj2,aac,webvtt"

ACCESS: dict[Kind, Access] = {
    "rtsp": Access("rtsp,rtp,udp,tcp", "rtsp,sdp,rtp,mpegts", "rtsp", _RTSP),
    "rtsps": Access("rtsps,rtsp,rtp,udp,tcp,tls", "rtsp,sdp,rtp,mpegts", "rtsp", _RTSP),
    "hls": Access("http,https,tcp,tls,crypto", f"hls,{_SEGMENTS}", "hls"),
    "http": Access(
        "http,https,tcp,tls", "mpegts,mpjpeg,mjpeg,flv,matroska,webm,mov,mp4", "", _TRANSPORT_STREAM
    ),
    "udp": Access("udp", "mpegts", "mpegts", {**_TRANSPORT_STREAM, **_DATAGRAMS}),
    "tcp": Access("tcp", "mpegts", "mpegts", _TRANSPORT_STREAM),
    "device": Access("file", "v4l2,video4linux2,video4linux2,v4l2", "v4l2"),
}
"""By kind; `realtime` files are opened like other files."""


def is_yes(text: str) -> bool:
    """Whether an option says yes."""
    return text.lower() in YES


def kind_of(url: str, is_realtime: bool = False) -> Kind | None:
    """The kind of live stream at `url`; None if it is none.

    An `http://` address is taken as live; whoever has a file there does not ask.
    """
    if is_realtime:
        return "realtime"
    if _DEVICE.fullmatch(url):
        return "device"
    split = urlsplit(url)
    match split.scheme.lower():
        case "rtsp":
            return "rtsp"
        case "rtsps":
            return "rtsps"
        case "udp":
            return "udp"
        case "tcp":
            return "tcp"
        case "http" | "https":
            return "hls" if split.path.lower().endswith(".m3u8") else "http"
    return None
