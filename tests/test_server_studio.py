"""The studio's page and the routes it lives on: public files under a strict policy, boards, remakes, the list."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from PIL import Image
from server_room import Running

from longtake.errors import RequestError
from longtake.server import shots
from longtake.server.config import Config
from longtake.server.studio import FOLDER
from longtake.storyboard import Angle, Move, Scale, Transition

ROOT = Path(__file__).parents[1]
BOARD: dict[str, Any] = {
    "size": "320x192", "fps": 12, "seed": 7,
    "characters": [{"id": "c1", "look": "a dog"}],
    "shots": [
        {"id": f"s{n}", "duration": 1, "action": "a dog in the snow", "characters": [{"id": "c1"}]} for n in (1, 2, 3)
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("data"), "--workers", "1")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def http_(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/v1/longtake", timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def film(server: Running) -> str:
    made = httpx.post(
        f"{server.url}/v1/videos", json={"prompt": "a dog", "storyboard": BOARD, "music": "calm"}
    )
    assert made.status_code == 200, made.text
    assert server.until_ended(made.json()["id"])["status"] == "completed"
    id: str = made.json()["id"]
    return id


def test_every_file_is_served_with_its_kind_and_a_strict_policy(server: Running) -> None:
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    files = [file for file in FOLDER.iterdir() if file.suffix in kinds]
    assert len(files) >= 10
    for file in files:
        answer = httpx.get(f"{server.url}/studio/{file.name}")
        assert (answer.status_code, answer.content) == (200, file.read_bytes())
        assert answer.headers["content-type"].startswith(kinds[file.suffix])
    page = httpx.get(f"{server.url}/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policies = page.headers.get_list("content-security-policy")
    assert len(policies) == 1 and "default-src 'none'" in policies[0] and "unsafe" not in policies[0]
    assert "require-trusted-types-for 'script'" in policies[0]
    assert page.headers["x-content-type-options"] == "nosniff"
    api = httpx.get(f"{server.url}/v1/videos")
    assert api.headers.get_list("content-security-policy") == ["default-src 'none'; frame-ancestors 'none'"]


def test_a_file_the_browser_has_is_not_sent_again(server: Running) -> None:
    for path in ("/", "/studio/app.js"):
        first = httpx.get(f"{server.url}{path}")
        again = httpx.get(f"{server.url}{path}", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = httpx.head(f"{server.url}{path}")
        assert head.headers["content-length"] == str(len(first.content)) and head.content == b""


def test_nothing_else_is_served(server: Running) -> None:
    for path in ("/studio/../server/door.py", "/studio/%2e%2e/errors.py", "/studio/none.js", "/studio/"):
        assert httpx.get(f"{server.url}{path}").status_code == 404
    assert httpx.post(f"{server.url}/").status_code == 405


def test_the_page_names_no_other_place_and_holds_no_script() -> None:
    for file in FOLDER.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text
        ), file.name
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", page)
    for name in re.findall(r'(?:src|href)="studio/([^"]+)"', page):
        assert (FOLDER / name).exists()


def test_the_words_are_there_in_both_languages() -> None:
    words = (FOLDER / "words.js").read_text(encoding="utf-8")
    known = set(re.findall(r'^  "?([\w. ,-]+?)"?: \[', words, re.MULTILINE))
    used: set[str] = set(
        re.findall(r'data-t(?:-aria-label)?="(\w+)"', (FOLDER / "index.html").read_text(encoding="utf-8"))
    )
    for file in FOLDER.glob("*.js"):
        used |= set(re.findall(r'\bt\("([\w.]+)"', file.read_text(encoding="utf-8")))
    assert used <= known, used - known
    pairs = re.findall(r'\[\s*"((?:[^"\\]|\\.)*)",\s*"((?:[^"\\]|\\.)*)",?\s*\]', words)
    assert len(pairs) == len(known)
    assert all(set(re.findall(r"\{\w+\}", en)) == set(re.findall(r"\{\w+\}", zh)) for en, zh in pairs)
    for kind, values in (
        ("scale", Scale),
        ("angle", Angle),
        ("move", Move),
        ("transition", Transition.model_fields["type"].annotation),
    ):
        assert {f"{kind}.{value}" for value in typing.get_args(values)} <= known


def test_the_wheel_holds_the_studio() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "src/longtake/studio/*" in build["artifacts"]


def test_the_server_says_where_the_studio_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "longtake", "serve", "--port", "0", "--workers", "0"]
    process = subprocess.Popen(
        [*command, "--data", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        found = re.fullmatch(r"The studio is at (http://127\.0\.0\.1:\d+/)\n", line)
        assert (
            found and httpx.get(found[1], timeout=60).status_code == 200
        )  # the socket listens: it is answered soon
    finally:
        process.terminate()
        process.wait(60)
    wrong = subprocess.run(
        [*command, "--data", str(tmp_path), "--open", "--no-studio"], capture_output=True, text=True
    )
    assert wrong.returncode == 2 and "give one of them" in wrong.stderr


def test_without_the_studio_there_is_no_page(tmp_path: Path) -> None:
    bare = Running(tmp_path / "data", "--no-studio", "--workers", "0")
    try:
        assert httpx.get(f"{bare.url}/").status_code == 404
        assert httpx.get(f"{bare.url}/studio/app.js").status_code == 404
    finally:
        bare.stop()


def test_the_page_needs_no_key_and_the_data_does(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "longtake", "keys", "api", "create", "anna", "--data", str(tmp_path / "data")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    guarded = Running(tmp_path / "data", "--workers", "0")
    try:
        assert (
            httpx.get(f"{guarded.url}/").status_code
            == httpx.get(f"{guarded.url}/studio/app.js").status_code
            == 200
        )
        body = {"prompt": "a dog"}
        routes = [("GET", "/videos"), ("GET", "/videos/v/storyboard"), ("POST", "/videos/v/remake")]
        routes += [("POST", f"/storyboards{path}") for path in ("", "/check", "/repair")]
        for method, path in routes:
            url = f"{guarded.url}/v1/longtake{path}"
            assert httpx.request(method, url, json=body).status_code == 401
        headers = {"authorization": f"Bearer {done.stdout.strip()}"}
        assert httpx.get(f"{guarded.url}/v1/longtake/videos", headers=headers).json()["data"] == []
    finally:
        guarded.stop()


def test_a_prompt_becomes_a_board(http_: httpx.Client) -> None:
    asked = {
        "prompt": "一只企鹅在雪地里走，然后一只猫在客厅里睡觉",
        "seconds": 12,
        "size": "720x1280",
        "seed": 5,
    }
    made = http_.post("/storyboards", json=asked).json()
    board = made["board"]
    assert (board["language"], board["size"], board["seed"]) == ("zh", "720x1280", 5)
    assert sum(shot["duration"] for shot in board["shots"]) == 12 and len(board["shots"]) >= 2
    assert made == http_.post("/storyboards", json=asked).json()
    one = http_.post("/storyboards", json={"prompt": "a cat runs", "seconds": 20, "one_take": True}).json()[
        "board"
    ]
    assert all(shot["continue_from"] for shot in one["shots"][1:])
    unknown = http_.post("/storyboards", json={"prompt": "a xylophone in the snow"}).json()
    assert any("xylophone" in note for note in unknown["notes"])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "a dog", "seconds": 61}, "seconds"),
        ({"prompt": "a dog", "size": "1x1"}, "size"),
        ({"prompt": "a dog", "fps": 25}, "fps"),
        ({"prompt": "a dog", "model": "none"}, "model"),
        ({"prompt": "a dog", "director": "http://127.0.0.1/"}, "director"),
        ({"prompt": "a dog", "director": "endpoint"}, "director"),
        ({"prompt": "then " * 398}, "prompt"),
    ],
)
def test_what_cannot_be_directed_names_its_field(
    http_: httpx.Client, body: dict[str, Any], param: str
) -> None:
    answer = http_.post("/storyboards", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"shots": []}, "storyboard.shots"),
        ({"size": "100x100"}, "storyboard.size"),
        ({"shots": [{"id": "s1", "duration": 0}]}, "storyboard.shots[0].duration"),
        ({"shots": [{"id": "s1", "duration": 2, "scale": "near"}]}, "storyboard.shots[0].scale"),
        ({"shots": [{"id": "s1", "duration": 2, "location": "l9"}]}, "storyboard.shots[0].location"),
        ({"shots": [{"id": "s1", "duration": 2, "transition": {"type": "wipe", "duration": 1}}]},
         "storyboard.shots[0].transition.type"),
        ({"characters": [{"id": "c1", "references": ["/etc/passwd"]}]}, "storyboard.characters[0].references"),
    ],
)  # fmt: skip
def test_a_board_that_cannot_be_filmed_names_its_field(
    http_: httpx.Client, change: dict[str, Any], param: str
) -> None:
    answer = http_.post("/storyboards/check", json={"storyboard": BOARD | change})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_a_board_is_checked_and_repaired(http_: httpx.Client) -> None:
    checked = http_.post("/storyboards/check", json={"storyboard": BOARD}).json()["board"]
    assert checked["shots"][0]["scale"] == "wide" and checked["shots"][2]["id"] == "s3"
    long = BOARD | {"shots": [shot | {"duration": 4} for shot in BOARD["shots"]]}
    repaired = http_.post("/storyboards/repair", json={"storyboard": long}).json()
    scales = [shot["scale"] for shot in repaired["board"]["shots"]]
    assert all(a != b for a, b in pairwise(scales))
    assert any("repeated" in note for note in repaired["notes"]) and repaired["findings"] == []
    locked = long | {"shots": [shot | {"locked": True} for shot in long["shots"]]}
    left = http_.post("/storyboards/repair", json={"storyboard": locked}).json()
    assert {finding["rule"] for finding in left["findings"]} == {"repeat"}
    large = http_.post("/storyboards/check", json={"storyboard": {"title": "x" * 3_000_000}})
    assert large.status_code == 413


def test_the_board_of_a_film_and_one_shot_again(http_: httpx.Client, server: Running, film: str) -> None:
    board = http_.get(f"/videos/{film}/storyboard").json()["board"]
    assert [shot["seed"] for shot in board["shots"]] == [None, None, None]
    again = http_.post(f"/videos/{film}/remake", json={"shot": "s2", "seed": 99})
    assert again.status_code == 200, again.text
    assert (again.json()["remixed_from_video_id"], again.json()["seconds"]) == (film, "3")
    after = http_.get(f"/videos/{again.json()['id']}/storyboard").json()["board"]
    assert after["shots"][1].pop("seed") == 99
    board["shots"][1].pop("seed")
    assert after == board
    assert server.until_ended(again.json()["id"])["status"] == "completed"
    changed = BOARD | {"shots": [{**BOARD["shots"][0], "duration": 5}]}
    other = http_.post(f"/videos/{film}/remake", json={"storyboard": changed}).json()
    assert other["seconds"] == "5"


def test_what_cannot_be_remade(http_: httpx.Client, server: Running, film: str) -> None:
    def refused(id: str, body: dict[str, Any]) -> tuple[int, str | None, str]:
        answer = http_.post(f"/videos/{id}/remake", json=body)
        error = answer.json()["error"]
        return answer.status_code, error["param"], error["message"]

    status, param, words = refused(film, {"shot": "s9"})
    assert (status, param) == (400, "shot") and "s1, s2, s3" in words
    locked = BOARD | {"shots": [shot | {"locked": True} for shot in BOARD["shots"]]}
    assert refused(film, {"shot": "s1", "storyboard": locked})[:2] == (400, "shot")
    assert refused(film, {"seed": -1})[:2] == (400, "seed")
    assert refused("video_none", {"shot": "s1"})[0] == 404
    plain = httpx.post(f"{server.url}/v1/videos", json={"prompt": "a dog"}).json()["id"]
    server.until_ended(plain)
    assert refused(plain, {"shot": "s1"})[:2] == (404, "video_id")  # a made-up film keeps no board


def test_the_list_tells_the_stage_and_the_place(http_: httpx.Client, server: Running, film: str) -> None:
    made = [
        httpx.post(f"{server.url}/v1/videos", json={"prompt": f"number {n}"}).json()["id"] for n in range(3)
    ]
    waiting = http_.get("/videos", params={"status": "queued"}).json()["data"]
    order = [video["id"] for video in sorted(waiting, key=lambda video: video["ahead"])]
    assert order == [id for id in made if id in order] and len(order) >= 2
    single = http_.get(f"/videos/{order[-1]}").json()
    assert single["ahead"] is None or single["ahead"] <= len(order) - 1
    done = http_.get("/videos", params=[("status", "completed"), ("status", "failed")]).json()["data"]
    assert film in [video["id"] for video in done] and all(video["ahead"] is None for video in done)
    assert next(video for video in done if video["id"] == film)["seed"] == 7
    assert http_.get("/videos", params={"status": "lost"}).status_code == 422
    for id in made:
        server.until_ended(id)


def test_an_animatic_takes_nothing_that_a_model_takes(server: Running) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(picture, "PNG")
    address = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
    given: dict[str, Any] = {
        "steps": 4,
        "guidance": 2,
        "takes": 2,
        "negative": "rain",
        "input_reference": {"image_url": address},
    }
    for field, value in given.items():
        body = {"prompt": "a dog", "model": "animatic", field: value}
        answer = httpx.post(f"{server.url}/v1/videos", json=body, timeout=60)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field), answer.text
    clip = {"prompt": "on", "seconds": 4, "model": "animatic", "video": {"id": "video_none"}}
    assert httpx.post(f"{server.url}/v1/videos/extensions", json=clip).status_code in (400, 404)


@pytest.mark.slow
def test_a_shot_made_again_leaves_the_others_where_they_are(weights: Path, tmp_path: Path) -> None:
    """With a real model: the shots of a film are kept, and only the new one is sampled; an animatic needs no model."""
    real = Running(tmp_path / "data", "--model", f"tiny={weights}", pretend=None)
    try:
        body = {
            "prompt": "a dog runs, then a dog sleeps, then a dog jumps",
            "seconds": 6,
            "size": "320x192",
            "fps": 12,
        }
        body |= {"steps": 2, "sound": False}
        first = httpx.post(f"{real.url}/v1/videos", json=body, timeout=30).json()["id"]
        assert real.until_ended(first, 240)["status"] == "completed"
        kept = {file.name: file.stat().st_ino for file in (tmp_path / "data/shots" / first).iterdir()}
        assert len(kept) == 3
        remake = {"shot": "s2", "seed": 5}
        second = httpx.post(f"{real.url}/v1/longtake/videos/{first}/remake", json=remake, timeout=30).json()[
            "id"
        ]
        assert real.until_ended(second, 240)["status"] == "completed"
        after = {file.name: file.stat().st_ino for file in (tmp_path / "data/shots" / second).iterdir()}
        assert {name: node for name, node in after.items() if name in kept} == kept
        assert len(after) == 4
        prompt = {
            "prompt": "a dog runs on the beach",
            "model": "animatic",
            "seconds": 2,
            "size": "320x192",
            "fps": 12,
        }
        acted = httpx.post(f"{real.url}/v1/videos", json=prompt).json()["id"]
        assert real.until_ended(acted, 240)["status"] == "completed"
        found = httpx.get(f"{real.url}/v1/longtake/videos/{acted}/storyboard").json()["board"]
        assert "dog" in found["characters"][0]["look"]
    finally:
        real.stop()


def test_the_oldest_films_lose_their_shots_first(tmp_path: Path) -> None:
    import os

    for number in range(4):
        film = tmp_path / f"video_{number}"
        film.mkdir()
        (film / "a.safetensors").write_bytes(b"x" * 100)
        os.utime(film, (number, number))
    shots.tidy(tmp_path, 250)
    assert sorted(film.name for film in tmp_path.iterdir()) == ["video_2", "video_3"]
    work = tmp_path / "work"
    work.mkdir()
    shots.lend(tmp_path / "gone", work)
    assert not list(work.iterdir())
    shots.lend(tmp_path / "video_2", work)
    shots.keep(work, tmp_path / "video_9")
    assert (tmp_path / "video_9/a.safetensors").exists()


def test_an_endpoint_of_the_operator_directs(tmp_path: Path) -> None:
    assert Config(tmp_path).director == "rules"
    from longtake.director.llm import Endpoint

    with pytest.raises(RequestError, match="director"):
        Endpoint.of("not an address")
    away = Running(tmp_path / "data", "--workers", "0", "--director", "http://127.0.0.1:9/v1")
    try:
        made = httpx.post(
            f"{away.url}/v1/longtake/storyboards", json={"prompt": "a dog runs"}, timeout=60
        ).json()
        assert any("the rules directed instead" in note for note in made["notes"])
        ruled = httpx.post(
            f"{away.url}/v1/longtake/storyboards",
            json={"prompt": "a dog runs", "director": "rules"},
            timeout=60,
        )
        assert not any("instead" in note for note in ruled.json()["notes"])
    finally:
        away.stop()
