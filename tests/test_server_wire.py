"""The wire, fact by fact, spoken by the unmodified `openai` package and by hand where no SDK goes."""

from __future__ import annotations

import base64
import http.server
import io
import json
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from PIL import Image
from server_room import Running

from longtake.errors import RequestError
from longtake.server.config import Config, parse_models
from longtake.video import Writer

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(
        tmp_path_factory.mktemp("data"), "--allow-private", "--workers", "1", "--max-upload-mb", "1"
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(server: Running) -> Any:
    warnings.simplefilter("ignore")
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="anything", max_retries=0)


@pytest.fixture(scope="module")
def http_(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/v1") as client:
        yield client


@pytest.fixture(scope="module")
def film(client: Any) -> Any:
    return client.videos.create_and_poll(prompt="a dog in the snow", seconds="4", size="1280x720")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "given.mp4"
    writer = Writer(path, 320, 192, 24, {})
    for i in range(48):
        writer.write(np.full((192, 320, 3), 40 + i, np.uint8))
    writer.finish()
    return path


def png(size: tuple[int, int] = (64, 48)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "red").save(out, "PNG")
    return out.getvalue()


def test_create_and_poll(film: Any) -> None:
    assert (film.object, film.status, film.progress, film.error) == ("video", "completed", 100, None)
    assert (film.seconds, film.size, film.model) == ("4", "1280x720", "sora-2")
    assert film.completed_at >= film.created_at


def test_defaults_are_those_of_the_retired_api(client: Any) -> None:
    video = client.videos.create(prompt="a dog")
    assert (video.seconds, video.size, video.status) == ("4", "720x1280", "queued")
    client.videos.delete(video.id)


def test_create_is_multipart_and_json_is_taken_too(http_: httpx.Client) -> None:
    form = http_.post("/videos", files={"prompt": (None, "a dog"), "seconds": (None, "8")})
    plain = http_.post("/videos", json={"prompt": "a dog", "seconds": 8})
    assert form.status_code == plain.status_code == 200
    assert form.json()["seconds"] == plain.json()["seconds"] == "8"


def test_content_variants_and_ranges(client: Any, film: Any, http_: httpx.Client) -> None:
    video = client.videos.download_content(film.id).content
    assert video[4:8] == b"ftyp"
    thumbnail = client.videos.download_content(film.id, variant="thumbnail").content
    assert Image.open(io.BytesIO(thumbnail)).format == "WEBP"
    assert (
        Image.open(io.BytesIO(client.videos.download_content(film.id, variant="spritesheet").content)).format
        == "JPEG"
    )
    path = f"/videos/{film.id}/content"
    part = http_.get(path, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, video[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(video)}"
    assert http_.get(path, headers={"range": "bytes=-5"}).content == video[-5:]
    assert http_.get(path, headers={"range": f"bytes={len(video)}-"}).status_code == 416
    tag = part.headers["etag"]
    assert http_.get(path, headers={"if-none-match": tag}).status_code == 304
    assert http_.get(path, headers={"range": "bytes=0-1", "if-range": '"other"'}).status_code == 200
    assert http_.get(path, params={"variant": "gif"}).json()["error"]["param"] == "variant"


def test_the_variants_carry_the_marks(client: Any, film: Any, tmp_path: Path) -> None:
    from longtake.provenance.verify import verify

    for variant, name in (("thumbnail", "a.webp"), ("spritesheet", "a.jpg")):
        (tmp_path / name).write_bytes(client.videos.download_content(film.id, variant=variant).content)
        assert any(signal.found and "metadata" in signal.name for signal in verify(tmp_path / name).signals)


def test_list_pages(client: Any, film: Any, server: Running) -> None:
    made = [client.videos.create(prompt=f"number {n}").id for n in range(5)]
    page = client.videos.list(limit=2)
    assert [video.id for video in page.data] == made[:-3:-1] and page.has_more
    assert page.last_id == made[-2]
    everything = [video.id for video in client.videos.list(limit=2)]  # the SDK follows last_id
    assert everything[:5] == made[::-1] and film.id in everything
    ascending = [video.id for video in client.videos.list(limit=3, order="asc")]
    assert ascending == everything[::-1]
    for id in made:
        server.until_ended(id)


def test_remix(client: Any, film: Any, server: Running) -> None:
    remix = client.videos.remix(film.id, prompt="at night")
    assert (remix.remixed_from_video_id, remix.size, remix.seconds) == (film.id, film.size, film.seconds)
    assert server.until_ended(remix.id)["status"] == "completed"


def test_edit_with_a_file_and_with_an_id(client: Any, film: Any, clip: Path, server: Running) -> None:
    with open(clip, "rb") as file:
        edit = client.videos.edit(prompt="make it blue", video=file)
    assert edit.seconds == "2" and edit.size == "320x192"
    assert server.until_ended(edit.id)["status"] == "completed"
    # The Python SDK cannot send a dict here: this is the way around that its users take.
    again = client.videos.edit(prompt="make it blue", video=b"", extra_body={"video": {"id": film.id}})
    assert again.seconds == film.seconds


def test_extend_says_the_stitched_total(client: Any, film: Any, http_: httpx.Client) -> None:
    body = {"prompt": "it goes on", "seconds": "8", "video[id]": film.id}
    answer = http_.post("/videos/extensions", files={key: (None, value) for key, value in body.items()})
    assert answer.json()["seconds"] == "12"
    plain = http_.post("/videos/extensions", json={"prompt": "on", "seconds": 4, "video": {"id": film.id}})
    assert plain.json()["seconds"] == "8"
    written = http_.post("/videos/extensions", files={"prompt": (None, "on"), "seconds": (None, "4"),
                                                      "video": (None, json.dumps({"id": film.id}))})  # fmt: skip
    assert written.json()["seconds"] == "8"
    long = http_.post("/videos/extensions", json={"prompt": "on", "seconds": 60, "video": {"id": film.id}})
    assert long.status_code == 400 and "at most 60" in long.json()["error"]["message"]


def test_characters(client: Any, clip: Path) -> None:
    with open(clip, "rb") as file:
        made = client.videos.create_character(name="Mossy", video=file)
    assert made.id.startswith("char_") and made.name == "Mossy"
    assert client.videos.get_character(made.id).name == "Mossy"
    video = client.videos.create(
        prompt="walks home", extra_body={"characters": json.dumps([{"id": made.id}])}
    )
    assert "Mossy" in video.prompt
    with pytest.raises(openai.NotFoundError):
        client.videos.get_character("char_none")


def test_references_in_every_spelling(client: Any, http_: httpx.Client, server: Running) -> None:
    address = "data:image/png;base64," + base64.b64encode(png()).decode()
    spelled = [
        http_.post(
            "/videos", files={"prompt": (None, "a dog"), "input_reference[image_url]": (None, address)}
        ),
        http_.post("/videos", json={"prompt": "a dog", "input_reference": {"image_url": address}}),
        http_.post(
            "/videos",
            files={
                "prompt": (None, "a dog"),
                "input_reference": ("upload", png(), "application/octet-stream"),
            },
        ),
    ]
    for answer in spelled:
        assert answer.status_code == 200, answer.text
        assert server.until_ended(answer.json()["id"])["status"] == "completed"
    sdk = client.videos.create(prompt="a dog", input_reference=png())
    assert sdk.status == "queued"


def test_a_storyboard_as_text_and_as_json(http_: httpx.Client) -> None:
    board = {"shots": [{"id": "a", "duration": 3, "action": "a dog runs"}, {"id": "b", "duration": 2}]}
    text = http_.post("/videos", files={"prompt": (None, "a film"), "storyboard": (None, json.dumps(board))})
    plain = http_.post("/videos", json={"prompt": "a film", "storyboard": board})
    assert text.json()["seconds"] == plain.json()["seconds"] == "5"
    wrong = http_.post("/videos", json={"storyboard": {"shots": []}})
    assert wrong.status_code == 400 and wrong.json()["error"]["param"] == "storyboard"


def test_extra_values_arrive_as_text(client: Any, server: Running, http_: httpx.Client) -> None:
    video = client.videos.create(prompt="a dog", extra_body={"seed": 7, "fps": 12, "one_take": True})
    server.until_ended(video.id)
    assert http_.get(f"/longtake/videos/{video.id}").json()["seed"] == 7
    with pytest.raises(openai.BadRequestError, match="did you mean seed"):
        client.videos.create(prompt="a dog", extra_body={"sead": 7})


def test_idempotency(http_: httpx.Client) -> None:
    def post(prompt: str, **headers: str) -> Any:
        return http_.post(
            "/videos", json={"prompt": prompt}, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    first, second = post("a", idempotency_key="k1").json(), post("a", idempotency_key="k1").json()
    assert first["id"] == second["id"]
    reused = post("b", idempotency_key="k1")
    assert reused.status_code == 400 and reused.json()["error"]["code"] == "idempotency_key_reused"
    unique = f"prompt {time.time()}"
    original = post(unique).json()["id"]
    assert post(unique, x_stainless_retry_count="1").json()["id"] == original
    assert post(unique, x_stainless_retry_count="0").json()["id"] != original


def test_polling_headers(http_: httpx.Client, film: Any) -> None:
    answer = http_.post("/videos", json={"prompt": "a dog"})
    assert int(answer.headers["openai-poll-after-ms"]) > 0
    assert "openai-poll-after-ms" not in http_.get(f"/videos/{film.id}").headers


def test_a_failed_job_is_an_answer_not_an_error(client: Any) -> None:
    video = client.videos.create_and_poll(prompt="fail")
    assert video.status == "failed" and video.error.code == "generation_failed"
    assert "cannot be read" in video.error.message and "/" not in video.error.message
    with pytest.raises(openai.BadRequestError):
        client.videos.download_content(video.id)


def test_a_crashing_model_never_takes_the_server_down(client: Any, server: Running) -> None:
    video = client.videos.create(prompt="crash")
    ended = server.until_ended(video.id)
    assert ended["status"] == "failed" and ended["error"]["code"] == "worker_lost"
    assert "3 attempts" in ended["error"]["message"]
    assert client.videos.create_and_poll(prompt="a dog").status == "completed"


def test_not_ready_is_not_409(client: Any) -> None:
    video = client.videos.create(prompt="a dog")
    with pytest.raises(openai.BadRequestError) as caught:
        client.videos.download_content(video.id)
    assert caught.value.code == "video_not_ready"
    assert caught.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/videos/video_none", 404),
        ("GET", "/nowhere", 404),
        ("PUT", "/videos", 405),
        ("GET", "/videos?limit=0", 422),
        ("GET", "/videos?after=video_none", 404),
        ("POST", "/videos", 415),
    ],
)
def test_every_error_has_the_one_shape(http_: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http_.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"] and answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "x" * 2001}, "prompt"),
        ({"prompt": ["x"]}, "prompt"),
        ({"prompt": "x", "seconds": "61"}, "seconds"),
        ({"prompt": "x", "seconds": "nan"}, "seconds"),
        ({"prompt": "x", "seconds": True}, "seconds"),
        ({"prompt": "x", "size": "1281x720"}, "size"),
        ({"prompt": "x", "size": "huge"}, "size"),
        ({"prompt": "x", "model": "sora-3"}, "model"),
        ({"prompt": "x", "model": "/etc/passwd"}, "model"),
        ({"prompt": "x", "image": "/etc/passwd"}, "image"),
        ({"prompt": "x", "director": "http://127.0.0.1"}, "director"),
        ({"prompt": "x", "label": False}, "label"),
        ({"prompt": "x", "seed": 1.5}, "seed"),
        ({"prompt": "x", "input_reference": {"file_id": "f"}}, "input_reference"),
    ],
)
def test_wrong_values_name_the_parameter(http_: httpx.Client, values: dict[str, Any], param: str) -> None:
    answer = http_.post("/videos", json=values)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_too_large_a_body_is_413(http_: httpx.Client) -> None:
    answer = http_.post("/videos", files={"prompt": (None, "x"), "input_reference": ("a.png", b"\0" * 2**21)})
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "body_too_large"


def test_delete_stops_the_work(client: Any, http_: httpx.Client, server: Running) -> None:
    waiting = [client.videos.create(prompt="a dog") for _ in range(3)]
    for video in waiting:
        gone = client.videos.delete(video.id)
        assert (gone.id, gone.deleted, gone.object) == (video.id, True, "video.deleted")
        with pytest.raises(openai.NotFoundError):
            client.videos.retrieve(video.id)


def test_events_with_previews(http_: httpx.Client) -> None:
    id = http_.post("/videos", json={"prompt": "a dog"}).json()["id"]
    names = []
    with http_.stream("GET", f"/longtake/videos/{id}/events", timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                names.append(line[7:])
    assert names[0] == "progress" and names[-1] == "completed"


def test_cancel_and_move(http_: httpx.Client, server: Running) -> None:
    a, b, c = (http_.post("/videos", json={"prompt": n}).json()["id"] for n in "abc")
    moved = http_.post(f"/longtake/videos/{c}/move", json={"before": b})
    ahead = {id: http_.get(f"/longtake/videos/{id}").json()["ahead"] for id in (b, c)}
    assert moved.status_code == 200 and (ahead[c] is None or ahead[c] < ahead[b])
    cancelled = http_.post(f"/longtake/videos/{b}/cancel").json()
    assert cancelled["status"] == "failed" and cancelled["error"]["code"] == "cancelled"
    for id in (a, c):
        assert server.until_ended(id)["status"] == "completed"


def test_webhooks_pass_the_sdks_own_check(client: Any, http_: httpx.Client) -> None:
    seen: list[tuple[bytes, dict[str, str]]] = []
    arrived = threading.Event()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            seen.append((body, dict(self.headers)))
            self.send_response(200)
            self.end_headers()
            if len(seen) == 2:
                arrived.set()

        def log_message(self, *_: Any) -> None: ...

    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    hook = http_.post(
        "/longtake/webhooks", json={"url": f"http://127.0.0.1:{receiver.server_port}/in"}
    ).json()
    good, bad = client.videos.create(prompt="a dog"), client.videos.create(prompt="fail")
    assert arrived.wait(60)
    events = [client.webhooks.unwrap(body, headers, secret=hook["secret"]) for body, headers in seen]
    assert {(event.type, event.data.id) for event in events} == {
        ("video.completed", good.id), ("video.failed", bad.id)
    }  # fmt: skip
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(seen[0][0] + b" ", seen[0][1], secret=hook["secret"])
    assert http_.delete(f"/longtake/webhooks/{hook['id']}").json()["deleted"]
    receiver.shutdown()


def test_metrics_and_openapi(http_: httpx.Client, server: Running, film: Any) -> None:
    text = httpx.get(f"{server.url}/metrics").text
    assert 'longtake_jobs{status="completed"}' in text and "longtake_workers 1.0" in text
    spec = httpx.get(f"{server.url}/openapi.json").json()
    assert "/v1/videos/{video_id}/remix" in spec["paths"]


def test_verify_over_http(http_: httpx.Client, client: Any, film: Any) -> None:
    data = client.videos.download_content(film.id).content
    answer = http_.post("/longtake/verify", files={"file": ("a.mp4", data)}, timeout=60)
    assert answer.status_code == 200 and answer.json()["verdict"].startswith("generated")
    picture = {"file": ("a.png", png())}
    chinese = http_.post("/longtake/verify", files=picture, data={"language": "zh"}, timeout=60).json()
    assert chinese["verdict"] == "no marks found" and chinese["signals"][2]["detail"] == "没有 AIGC 字段"
    answer = http_.post("/longtake/verify", files=picture, data={"language": "fr"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "language")


def test_models_of_a_server() -> None:
    assert parse_models([]) == (("pocket", "pocket"), ("pocket-fast", "pocket-fast"))
    pairs = parse_models(["pocket", "sora-2=pocket-fast", "wan2.2-ti2v-5b"])
    config = Config(Path("data"), models=pairs)
    assert config.weights("sora-2") == "pocket-fast" and config.weights("sora-2-pro") == "pocket"
    assert config.names.count("sora-2") == 1 and config.weights("wan2.2-ti2v-5b") == "wan2.2-ti2v-5b"
    with pytest.raises(RequestError, match="no file or folder poket"):
        parse_models(["mine=poket"])
