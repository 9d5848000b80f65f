"""Films in an object store: a real S3 server of a package, spoken to over HTTP."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from server_room import Running

from longtake.errors import OutputError
from longtake.server.files import AwayError, Storage

pytest.importorskip("obstore")
BUCKET = "films"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment under which a client finds the server."""
    program = os.environ.get("LONGTAKE_TEST_MOTO") or shutil.which("moto_server")
    if not program:  # it lives apart: what it needs does not go with our pinned packages
        pytest.skip(
            "there is no S3 server: pipx install 'moto[server]', or LONGTAKE_TEST_MOTO=.../moto_server"
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                assert httpx.put(f"{endpoint}/{BUCKET}").status_code == 200
                break
            except httpx.HTTPError:
                assert time.monotonic() < until and process.poll() is None, "the S3 server did not start"
                time.sleep(0.2)
        yield {
            "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "us-east-1",
        }  # fmt: skip
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def storage(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Storage:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    return Storage(f"s3://{BUCKET}/some/prefix")


def test_objects_are_put_read_copied_and_removed(storage: Storage, tmp_path: Path) -> None:
    given = tmp_path / "given.mp4"
    given.write_bytes(bytes(range(256)) * 4096)
    storage.put(given, "video_1/attempt-1/video.mp4")
    assert storage.size("video_1/attempt-1/video.mp4") == 2**20
    part = b"".join(storage.read("video_1/attempt-1/video.mp4", 2**18 - 3, 2**19 + 5))
    assert part == given.read_bytes()[2**18 - 3 : 2**19 + 5]
    storage.copy("video_1/attempt-1/video.mp4", "video_2/inputs/video.mp4")
    storage.remove("video_1")
    storage.remove("video_1")  # a second time is fine
    assert not storage.exists("video_1/attempt-1/video.mp4")
    storage.get("video_2/inputs/video.mp4", tmp_path / "back.mp4")
    assert (tmp_path / "back.mp4").read_bytes() == given.read_bytes()
    with pytest.raises(FileNotFoundError):
        storage.get("video_3/attempt-1/video.mp4", tmp_path / "none.mp4")
    with pytest.raises(FileNotFoundError):
        b"".join(storage.read("video_3/attempt-1/video.mp4", 0, 1))


def test_a_store_that_refuses_is_one_line(s3: dict[str, str], storage: Storage, tmp_path: Path) -> None:
    given = tmp_path / "given.mp4"
    given.write_bytes(b"x")
    with pytest.raises(OutputError, match="cannot be stored"):
        Storage("s3://nobodys-bucket").put(given, "video_1/attempt-1/video.mp4")


def test_a_store_that_does_not_answer(
    s3: dict[str, str], storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    away = Storage(f"s3://{BUCKET}")
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(AwayError, match="does not answer"):
        away.put(tmp_path / "a", "video_1/attempt-1/video.mp4")
    with pytest.raises(AwayError, match="does not answer"):
        away.size("video_1/attempt-1/video.mp4")


def test_a_film_from_post_to_download(s3: dict[str, str], tmp_path: Path) -> None:
    server = Running(tmp_path / "data", "--storage", f"s3://{BUCKET}/films", env=s3)
    try:
        with httpx.Client(base_url=f"{server.url}/v1", timeout=60) as client:
            id = client.post("/videos", json={"prompt": "a dog"}).json()["id"]
            assert server.until_ended(id)["status"] == "completed"
            film = client.get(f"/videos/{id}/content").content
            assert film[4:8] == b"ftyp"
            assert client.get(f"/videos/{id}/content", headers={"range": "bytes=4-7"}).content == b"ftyp"
            longer = client.post(
                "/videos/extensions", json={"prompt": "on", "seconds": 4, "video": {"id": id}}
            ).json()
            assert server.until_ended(longer["id"])["status"] == "completed"
            assert client.delete(f"/videos/{id}").json()["deleted"]
        assert not list((tmp_path / "data").rglob("video.mp4"))
        server.stop()
        server.env = {**s3, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
        server.start()
        answer = httpx.get(f"{server.url}/v1/videos/{longer['id']}/content", timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")
    finally:
        server.stop()
