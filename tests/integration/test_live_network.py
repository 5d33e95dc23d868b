"""Live streams that are no RTSP: MPEG-TS over TCP, UDP and HTTP, and HLS, from small servers on loopback."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest
from PIL import Image

from plantain.operators.segments import Position
from plantain.operators.sources import open_source
from plantain.operators.sources.live.source import LiveSource
from plantain.operators.streams import StreamSpec, View
from tests.assets import clips
from tests.watching import PATIENCE_S, Watch, follow

pytestmark = pytest.mark.timeout(180)

VIEW = View((96, 160), "stretch")
DATAGRAM = 7 * 188  # bytes: what MPEG-TS is sent in
PLAYED_IN_S = 4.0  # the whole clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 s of numbered pictures, a keyframe in each half second."""
    return clips.make(tmp_path_factory.mktemp("ts") / "street.ts", 250, size=(160, 96), gop=12, b_frames=0)


def camera(url: str, **options: str) -> LiveSource:
    given = {"timeout_s": "2", "backoff_s": "0.2", "backoff_max_s": "1", "ring": "1000", **options}
    source = open_source(StreamSpec("encoder", url, options=given), VIEW, Position())
    assert isinstance(source, LiveSource)
    return source


class Encoder:
    """Sends a transport stream from a thread, a datagram's worth at a time, until told to pause or stop.

    Args:
        data: The stream, sent again and again.
        send: Sends a piece; raises OSError when nobody listens any more.
    """

    def __init__(self, data: bytes, send: Callable[[bytes], object]) -> None:
        self._pieces = [data[start : start + DATAGRAM] for start in range(0, len(data), DATAGRAM)]
        self._pace_s = PLAYED_IN_S / len(self._pieces)
        self._send = send
        self._stop = threading.Event()
        self._flows = threading.Event()
        self._flows.set()
        self._thread = threading.Thread(target=self._run, name="encoder")
        self._thread.start()

    def pause(self) -> None:
        self._flows.clear()

    def go_on(self) -> None:
        self._flows.set()

    def stop(self) -> None:
        self._stop.set()
        self._flows.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        while True:
            for piece in self._pieces:
                self._flows.wait()
                if self._stop.wait(self._pace_s):
                    return
                try:
                    self._send(piece)
                except OSError:
                    return


def udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def sending(encoder: Encoder) -> Iterator[Encoder]:
    try:
        yield encoder
    finally:
        encoder.stop()


def test_mpeg_ts_over_udp_is_joined_in_the_middle_and_survives_a_pause(clip: Path) -> None:
    port = udp_port()
    data = clip.read_bytes()
    # Begins in the middle of a group of pictures, as one who joins late finds it.
    middle = data[len(data) * 3 // 10 // 188 * 188 :]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
        closing(camera(f"udp://127.0.0.1:{port}")) as source,
        sending(Encoder(middle, lambda piece: out.sendto(piece, ("127.0.0.1", port)))) as encoder,
    ):
        watch = Watch(source)
        follow([watch], lambda: len(watch.frames) >= 40, "forty frames")
        assert watch.source.state == "live"
        assert clips.number_of(watch.frames[0].image) % 12 == 0
        assert {frame.info.captured_by for frame in watch.frames} == {"arrival"}
        encoder.pause()
        follow([watch], lambda: "silent" in watch.states, "silent")
        before = len(watch.frames)
        encoder.go_on()
        follow([watch], lambda: len(watch.frames) >= before + 20, "live again")
        assert watch.source.state == "live"
        assert [frame.header.frame_index for frame in watch.frames] == sorted(
            frame.header.frame_index for frame in watch.frames
        )


def test_mpeg_ts_over_tcp_is_taken_up_again_where_the_encoder_is_replaced(clip: Path) -> None:
    data = clip.read_bytes()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE_S)
    url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    with listener, closing(camera(url)) as source:
        watch = Watch(source)
        for epoch in range(3):
            client, _ = listener.accept()
            with client, sending(Encoder(data, client.sendall)):
                follow([watch], lambda epoch=epoch: watch.num_in(epoch) >= 20, f"epoch {epoch}")  # type: ignore[misc]
        follow([watch], lambda: watch.states.count("lost") == 3, "lost three times")
        assert watch.states[:6] == ["connecting", "live", "lost", "live", "lost", "live"]
        indices = [frame.header.frame_index for frame in watch.frames]
        assert indices == sorted(set(indices))


def test_fields_of_an_interlacing_camera_become_pictures(tmp_path: Path) -> None:
    woven = clips.make(
        tmp_path / "fields.ts",
        100,
        size=(160, 96),
        gop=12,
        b_frames=0,
        codec_options={"x264-params": "tff=1"},
    )
    combs = {}
    for deinterlace in ("on", "off"):
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(PATIENCE_S)
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with listener, closing(camera(url, deinterlace=deinterlace)) as source:
            watch = Watch(source)
            client, _ = listener.accept()
            with client, sending(Encoder(woven.read_bytes(), client.sendall)):
                follow([watch], lambda: len(watch.frames) >= 20, "twenty pictures")  # noqa: B023 (called at once)
        shown = [clips.number_of(frame.image) for frame in watch.frames]
        assert shown == [number % 100 for number in range(shown[0], shown[0] + len(shown))]
        combs[deinterlace] = watch.frames[10].image.tobytes()
    assert combs["on"] != combs["off"]


def test_an_encoder_that_is_set_to_another_size_while_it_sends(tmp_path: Path) -> None:
    small = clips.make(tmp_path / "small.ts", 50, size=(160, 96), gop=12, b_frames=0)
    large = clips.make(tmp_path / "large.ts", 50, size=(320, 192), gop=12, b_frames=0)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE_S)
    with listener, closing(camera(f"tcp://127.0.0.1:{listener.getsockname()[1]}")) as source:
        watch = Watch(source)
        client, _ = listener.accept()
        with client, sending(Encoder(small.read_bytes() + large.read_bytes(), client.sendall)):
            follow([watch], lambda: watch.states.count("changed") >= 2, "changed twice")
        sizes = {frame.info.fit.source_hw for frame in watch.frames}
        assert sizes == {(96, 160), (192, 320)}
        assert {frame.image.shape for frame in watch.frames} == {(96, 160, 3)}
        told = [event.sentence for event in watch.events if event.state == "changed"]
        assert told[0] == "stream 'encoder': changed from h264 160x96 to h264 320x192; going on"
        assert {frame.header.epoch for frame in watch.frames} == {0}
        assert "clock_backwards" in watch.states


class _Stream(BaseHTTPRequestHandler):
    """Answers every request with an endless stream."""

    data = b""

    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/attic" else 401 if self.path == "/vault" else 200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        if self.path == "/live.ts":
            encoder = Encoder(self.data, self.wfile.write)
            self.server.encoders.append(encoder)  # type: ignore[attr-defined]
            encoder._thread.join()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the base class calls it so)
        pass


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.encoders = []  # type: ignore[attr-defined]
    server.is_over = threading.Event()  # type: ignore[attr-defined]
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="http")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.is_over.set()  # type: ignore[attr-defined]
        server.shutdown()
        for encoder in server.encoders:  # type: ignore[attr-defined]
            encoder.stop()
        server.server_close()
        thread.join(PATIENCE_S)


def test_mpeg_ts_over_http(clip: Path) -> None:
    handler = type("Stream", (_Stream,), {"data": clip.read_bytes()})
    with serving(handler) as address:
        spec = StreamSpec(
            "web", f"{address}/live.ts", source="live", options={"timeout_s": "2", "ring": "1000"}
        )
        for path, state in (("attic", "not_found"), ("vault", "unauthorised"), ("nothing", "refused")):
            with closing(camera_at(f"{address}/{path}")) as source:
                watch = Watch(source)
                follow([watch], lambda: len(watch.events) >= 2, "refused")  # noqa: B023 (called at once)
                assert watch.states == ["connecting", state]
        source = open_source(spec, VIEW, Position())
        assert isinstance(source, LiveSource)
        with closing(source):
            watch = Watch(source)
            follow([watch], lambda: len(watch.frames) >= 30, "thirty frames")
            assert watch.states == ["connecting", "live"]


class _Pictures(BaseHTTPRequestHandler):
    """A cheap camera: one JPEG after the other in one endless answer."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=next")
        self.end_headers()
        number = 0
        while not self.server.is_over.wait(0.02):  # type: ignore[attr-defined]
            file = io.BytesIO()
            Image.fromarray(clips.numbered(number % 256, 160, 96)).save(file, "JPEG")
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {file.tell()}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + file.getvalue() + b"\r\n")
            except OSError:
                return
            number += 1

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the base class calls it so)
        pass


def test_jpegs_over_http() -> None:
    with serving(_Pictures) as address, closing(camera_at(f"{address}/video.cgi?user=x")) as source:
        watch = Watch(source)
        follow([watch], lambda: len(watch.frames) >= 30, "thirty frames")
        assert watch.states == ["connecting", "live"]
        shown = [clips.number_of(frame.image) for frame in watch.frames]
        assert shown == list(range(shown[0], shown[0] + len(shown)))


def camera_at(url: str) -> LiveSource:
    source = open_source(
        StreamSpec("web", url, source="live", options={"timeout_s": "2", "ring": "1000"}), VIEW, Position()
    )
    assert isinstance(source, LiveSource)
    return source


def test_hls_is_played_at_its_pace_and_a_playlist_reaches_no_local_file(tmp_path: Path) -> None:
    playlist = tmp_path / "live.m3u8"
    clip = clips.make(tmp_path / "short.ts", 75, size=(160, 96), gop=12, b_frames=0)
    with (
        av.open(str(clip)) as source_file,
        av.open(str(playlist), "w", format="hls", options={"hls_time": "1", "hls_list_size": "0"}) as out,
    ):
        stream = out.add_stream_from_template(source_file.streams.video[0])
        for packet in source_file.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    (tmp_path / "evil.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{clip}\n")

    class Files(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the base class calls it so)
            pass

    with serving(partial(Files, directory=str(tmp_path))) as address:
        with closing(camera(f"{address}/live.m3u8")) as source:
            watch = Watch(source)
            follow([watch], lambda: len(watch.frames) >= 30, "thirty frames")
            follow([watch], lambda: source.ended, "at the end of the playlist")
            assert watch.states == ["connecting", "live", "ended"]
            assert [clips.number_of(frame.image) for frame in watch.frames] == list(range(75))
        with closing(camera(f"{address}/evil.m3u8")) as source:
            watch = Watch(source)
            follow([watch], lambda: len(watch.events) >= 2, "refused")
            assert source.decoded == 0


def test_a_device_that_is_not_there_is_waited_for() -> None:
    with closing(camera("/dev/video99")) as source:
        watch = Watch(source)
        follow([watch], lambda: len(watch.events) >= 2, "not found")
        assert watch.states == ["connecting", "not_found"]
        assert "/dev/video99" in watch.events[1].sentence
        assert not source.ended
