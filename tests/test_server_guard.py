"""What must not get in or out: private addresses, bombs, trickles, other people's jobs; and what survives a kill."""

from __future__ import annotations

import asyncio
import http.server
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from PIL import Image
from server_room import Running

from longtake.server import fetch
from longtake.server.config import Limits
from longtake.server.content import parse_range
from longtake.server.files import Storage
from longtake.server.media import Intake
from longtake.server.sandbox import sniff
from longtake.server.webhooks import sign
from longtake.server.wire import ApiError


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1",
     "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::"],
)  # fmt: skip
def test_private_addresses_are_known(address: str) -> None:
    assert not fetch.is_public(address)


def test_public_addresses_are_known() -> None:
    assert fetch.is_public("93.184.215.14") and fetch.is_public("2606:4700:4700::1111")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://2130706433/", "http://0x7f.1/", "file:///etc/passwd",
     "ftp://example.com/", "http://user:pass@example.com/", "http://", "http://[", "gopher://x"],
)  # fmt: skip
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(fetch.FetchError):
        asyncio.run(fetch.resolve(url, allow_private=False))


def test_a_redirect_into_the_private_network_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Redirecting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("location", "http://127.0.0.2:1/secret")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Redirecting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(fetch, "is_public", lambda ip: ip == "127.0.0.1")  # the first hop passes for public
    with pytest.raises(fetch.FetchError, match="private"):
        asyncio.run(fetch.download(f"http://127.0.0.1:{server.server_port}/", tmp_path / "x", 1000, False))
    assert asked == ["/"]
    server.shutdown()


def test_sniffing() -> None:
    assert sniff(b"\x89PNG\r\n\x1a\n" + b"\0" * 8) == "picture"
    assert sniff(b"\0\0\0\x18ftypisom" + b"\0" * 4) == "video"
    assert sniff(b"<svg xmlns=") is None and sniff(b"PK\x03\x04") is None and sniff(b"") is None
    assert sniff(b"#EXTM3U\nfile:///etc/passwd") is None


def bomb(width: int, height: int) -> bytes:
    """A small PNG of enormous size."""
    import struct

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 10_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def take(tmp_path: Path, data: bytes, limits: Limits, wanted: str = "picture") -> Any:
    from starlette.datastructures import UploadFile

    async def work() -> Any:
        intake = Intake(Storage(str(tmp_path / "films")), tmp_path / "in", limits, False)
        return await intake.upload(
            UploadFile(io.BytesIO(data)), "video_1/inputs/image", (wanted,), "input_reference"
        )

    return asyncio.run(work())


def test_media_is_made_harmless(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (60, 40), "blue").save(out, "JPEG", comment=b"<script>")
    media = take(tmp_path, out.getvalue(), Limits())
    assert (media.kind, media.width, media.height) == ("picture", 60, 40)
    stored = (tmp_path / "films/video_1/inputs/image.png").read_bytes()
    assert stored.startswith(b"\x89PNG") and b"<script>" not in stored


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (bomb(60000, 60000), "pixels|memory|cannot be read"),
        (b"\x89PNG\r\n\x1a\n" + b"junk" * 50, "cannot be read"),
        (b"<html>", "is not a PNG"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 900, "is not a PNG"),
    ],
)
def test_bad_pictures_are_named(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(ApiError, match=why):
        take(tmp_path, data, Limits(decode_seconds=10))
    assert not list((tmp_path / "in").iterdir())


def test_bad_videos_are_named(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="input_reference"):
        take(tmp_path, b"\0\0\0\x18ftypisom" + b"\0" * 900, Limits(), "video")


def test_ranges() -> None:
    assert parse_range("bytes=0-0", 10) == (0, 1)
    assert parse_range("bytes=5-", 10) == (5, 10)
    assert parse_range("bytes=-3", 10) == (7, 10)
    assert parse_range("bytes=0-99", 10) == (0, 10)
    assert all(
        parse_range(text, 10) is None for text in (None, "bytes=3-1", "bytes=0-1,3-4", "lines=1-2", "bytes=-")
    )
    with pytest.raises(ApiError):
        parse_range("bytes=10-", 10)


def test_the_signature_is_that_of_the_standard() -> None:
    # The example of https://www.standardwebhooks.com
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str, str]]:
    data = tmp_path_factory.mktemp("guarded")
    made = [
        subprocess.run(
            [sys.executable, "-m", "longtake", "keys", "api", "create", name, "--data", str(data)],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        for name in ("anna", "ben")
    ]  # fmt: skip
    running = Running(data, "--log-format", "json")
    yield running, made[0], made[1]
    running.stop()


def test_keys_divide_callers(guarded: tuple[Running, str, str]) -> None:
    server, anna, ben = guarded
    assert httpx.get(f"{server.url}/v1/videos").status_code == 401
    assert httpx.get(f"{server.url}/metrics").status_code == 401
    wrong = httpx.get(f"{server.url}/v1/videos", headers={"authorization": "Bearer lt-wrong"})
    words = "Incorrect API key provided"
    assert wrong.json()["error"] == {
        "message": words, "type": "authentication_error", "param": None, "code": "invalid_api_key"
    }  # fmt: skip
    mine, yours = ({"authorization": f"Bearer {key}"} for key in (anna, ben))
    id = httpx.post(f"{server.url}/v1/videos", json={"prompt": "secret words"}, headers=mine).json()["id"]
    assert httpx.get(f"{server.url}/v1/videos/{id}", headers=yours).status_code == 404
    assert httpx.delete(f"{server.url}/v1/videos/{id}", headers=yours).status_code == 404
    assert httpx.get(f"{server.url}/v1/videos", headers=yours).json()["data"] == []
    assert server.until_ended(id, key=anna)["status"] == "completed"
    logged = "".join(server.log)
    assert anna not in logged and "secret words" not in logged and '"event": "job completed"' in logged


def test_private_webhooks_are_refused(guarded: tuple[Running, str, str]) -> None:
    server, anna, _ = guarded
    answer = httpx.post(
        f"{server.url}/v1/longtake/webhooks",
        json={"url": "http://127.0.0.1:9/"},
        headers={"authorization": f"Bearer {anna}"},
    )
    assert answer.status_code == 400 and "private" in answer.json()["error"]["message"]


def test_without_a_key_only_this_machine(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "longtake", "serve", "--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and "keys api create" in done.stderr and "Traceback" not in done.stderr


def test_a_server_killed_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    server = Running(tmp_path, pretend=1.0)
    headers = {"host": "evil.example"}
    assert httpx.get(f"{server.url}/v1/videos", headers=headers).status_code == 403
    assert (
        httpx.post(
            f"{server.url}/v1/videos", json={"prompt": "x"}, headers={"origin": "http://evil"}
        ).status_code
        == 403
    )
    ids = [httpx.post(f"{server.url}/v1/videos", json={"prompt": "a dog"}).json()["id"] for _ in range(3)]
    while httpx.get(f"{server.url}/v1/videos/{ids[0]}").json()["status"] == "queued":
        time.sleep(0.05)
    second = Running.__new__(Running)
    second.data, second.flags, second.pretend, second.env, second.log = tmp_path, (), 1.0, {}, []
    second.start(wait=False)
    assert second.process.wait(30) == 2 and "another server" in "".join(second.log)
    server.stop(signal.SIGKILL)
    server.start()
    for id in ids:
        assert server.until_ended(id)["status"] == "completed"
    # stopped in good order, a running job goes back into the queue and its attempt is forgiven
    id = httpx.post(f"{server.url}/v1/videos", json={"prompt": "a dog"}).json()["id"]
    while httpx.get(f"{server.url}/v1/videos/{id}").json()["status"] == "queued":
        time.sleep(0.05)
    assert server.stop() == 0
    server.start()
    assert server.until_ended(id)["status"] == "completed"
    httpx.delete(f"{server.url}/v1/videos/{id}")
    server.stop()
    assert not list((tmp_path / "work").glob("*")) or os.listdir(tmp_path / "work") == [id]


def test_a_trickle_is_cut_off(tmp_path: Path) -> None:
    import threading as t

    import uvicorn

    from longtake.server.app import build_app
    from longtake.server.config import Config
    from longtake.server.protocol import patient_for

    limits = Limits(header_seconds=0.5, body_seconds=0.5)
    app = build_app(Config(tmp_path, workers=0, limits=limits))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, http=patient_for(0.5)))
    thread = t.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    address = listener.getsockname()
    with socket.create_connection(address, timeout=10) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHos")
        assert slow.recv(100) == b""
    with socket.create_connection(address, timeout=10) as slow:
        slow.sendall(b"POST /v1/videos HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                     b"content-length: 1000\r\n\r\n{")  # fmt: skip
        answer = slow.recv(4000)
        assert b" 408 " in answer and b"request_timeout" in answer
    server.should_exit = True
    thread.join(20)


def test_messages_hold_no_path_of_the_server(tmp_path: Path) -> None:
    from longtake.server.worker import _plain

    weights, folder = tmp_path / "weights" / "a.safetensors", tmp_path / "work" / "video_1"
    said = f"cannot read {weights}: No such file: {folder / 'given.png'}; see https://x.org/a"
    assert _plain(said, folder) == ("cannot read a.safetensors: No such file: given.png; see https://x.org/a")


def test_the_server_starts_without_torch() -> None:
    """Only workers, and the limited process that verifies, load it."""
    code = "import sys, longtake.server.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
