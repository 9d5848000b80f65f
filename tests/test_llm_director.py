"""The LLM director against a local server that speaks the real protocol: what it sends, and what it survives."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from longtake.director import propose
from longtake.director.llm import KEY, schema
from longtake.errors import RequestError
from longtake.storyboard import Storyboard

GOOD = {
    "title": "Puppy",
    "language": "en",
    "style": {"look": "", "palette": [], "negative": ""},
    "characters": [{"id": "c1", "name": "Rex", "look": "a golden puppy", "wardrobe": "", "voice": ""}],
    "locations": [{"id": "l1", "description": "in a snowy field", "time": "at noon", "weather": "snow"}],
    "shots": [
        {"id": "s1", "duration": 5, "location": "l1", "characters": [{"id": "c1", "position": "", "facing": "right"}],
         "scale": "wide", "action": "A golden puppy runs in the snow."},
        {"id": "s2", "duration": 3, "location": "l1", "characters": [{"id": "c1", "position": "", "facing": "right"}],
         "scale": "close_up", "action": "A golden puppy looks up."},
    ],
}  # fmt: skip
Answer = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self.send(200, {"object": "list", "data": [{"id": "toy-director", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        answers = self.server.answers
        answers[min(len(self.server.asked), len(answers)) - 1](self, body)

    def send(self, status: int, value: Any, **headers: str) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(data)


def says(content: str, reason: str = "stop") -> Answer:
    message = {"role": "assistant", "content": content}
    value = {"id": "x", "object": "chat.completion", "created": 1, "model": "toy-director",
             "choices": [{"index": 0, "message": message, "finish_reason": reason}]}  # fmt: skip
    return lambda handler, body: handler.send(200, value)


def fails(status: int, **headers: str) -> Answer:
    return lambda handler, body: handler.send(status, {"error": {"message": "no"}}, **headers)


def never(handler: Handler, body: dict[str, Any]) -> None:
    handler.server.over.wait(10)


def drips(handler: Handler, body: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.over.wait(0.05):
        try:
            handler.wfile.write(b" ")
            handler.wfile.flush()
        except OSError:
            return


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    servers = []

    def start(*answers: Answer) -> Any:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.answers, server.asked, server.over = list(answers), [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


def direct(url: str, **options: Any) -> Any:
    return propose(
        "a golden puppy in the snow", **({"seconds": 8, "seed": 5, "director": url, "timeout": 5} | options)
    )


def test_a_good_answer_becomes_the_board(serve: Any) -> None:
    server = serve(says(json.dumps(GOOD)))
    made = direct(server.url)
    assert [s.id for s in made.board.shots] == ["s1", "s2"] and made.board.seconds == 8
    assert (made.board.size, made.board.fps, made.board.seed) == ("1280x720", 24, 5)
    assert "storyboard written by toy-director" in made.notes
    path, _, body = server.asked[0]
    assert path == "/v1/chat/completions" and body["model"] == "toy-director"
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert body["response_format"]["json_schema"] == {
        "name": "storyboard",
        "strict": True,
        "schema": schema(),
    }


def test_the_schema_is_strict_everywhere() -> None:
    def objects(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            if "properties" in node:
                yield node
            for value in node.values():
                yield from objects(value)
        elif isinstance(node, list):
            for value in node:
                yield from objects(value)

    found = list(objects(schema()))
    assert len(found) >= 8
    assert all(n["additionalProperties"] is False and n["required"] == list(n["properties"]) for n in found)
    assert "seed" not in schema()["properties"] and "seed" in Storyboard.model_fields


def test_the_official_client_speaks_the_same_protocol(serve: Any) -> None:
    openai = pytest.importorskip("openai")
    server = serve(says(json.dumps(GOOD)))
    direct(server.url)
    _, headers, body = server.asked[0]
    answer = openai.OpenAI(base_url=server.url, api_key="k", max_retries=0).chat.completions.create(**body)
    _, official_headers, official = server.asked[1]
    assert official == body and json.loads(answer.choices[0].message.content) == GOOD
    assert headers["content-type"] == official_headers["content-type"]


@pytest.mark.parametrize(
    "text",
    [
        "```json\n" + json.dumps(GOOD) + "\n```",
        "<think>{not this}</think>Here it is: " + json.dumps(GOOD) + " Enjoy!",
        json.dumps({"storyboard": GOOD}),
        json.dumps(GOOD | {"mood": "merry", "seed": 99, "size": "1x1"}),
    ],
)
def test_answers_with_things_around_them(serve: Any, text: str) -> None:
    made = direct(serve(says(text)).url)
    assert made.board.characters[0].look == "a golden puppy" and made.board.seed == 5
    if "mood" in text:
        assert any("mood" in note for note in made.notes)


def test_an_invalid_board_goes_back_with_the_reason(serve: Any) -> None:
    bad = GOOD | {"shots": [GOOD["shots"][0] | {"scale": "huge"}]}
    server = serve(says(json.dumps(bad)), says(json.dumps(GOOD)))
    made = direct(server.url)
    assert len(made.board.shots) == 2
    last = server.asked[1][2]["messages"][-1]["content"]
    assert "'huge' is not valid" in last


def test_wrong_lengths_are_repaired_and_said(serve: Any) -> None:
    long = GOOD | {"shots": [s | {"duration": 7} for s in GOOD["shots"]]}
    made = direct(serve(says(json.dumps(long))).url)
    assert made.board.seconds == 8
    assert any("durations" in note for note in made.notes)


def test_an_endpoint_without_schemas_is_asked_more_simply(serve: Any) -> None:
    server = serve(fails(400), says(json.dumps(GOOD)))
    assert len(direct(server.url).board.shots) == 2
    assert server.asked[1][2]["response_format"] == {"type": "json_object"}


def test_a_busy_endpoint_is_tried_again(serve: Any) -> None:
    server = serve(fails(429, Retry_After="0"), fails(503), says(json.dumps(GOOD)))
    assert len(direct(server.url).board.shots) == 2 and len(server.asked) == 3


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([says("I would rather not.")], "no valid storyboard"),
        ([says("")], "answered nothing"),
        ([says(json.dumps(GOOD)[:200], "length")], "before the end"),
        ([says("{" * 5000)], "no valid storyboard"),
        ([fails(401)], "401"),
        ([fails(500)], "500"),
        ([fails(302, Location="http://127.0.0.1:9/")], "302"),
        ([lambda handler, body: handler.send(200, {"hello": 1})], "chat protocol"),
        ([never], "within 1 seconds"),
        ([drips], "within 1 seconds"),
    ],
    ids=[
        "refusal",
        "empty",
        "cut off",
        "braces",
        "key",
        "broken",
        "elsewhere",
        "other protocol",
        "never",
        "slowly",
    ],
)
def test_otherwise_the_rules_direct_and_say_so(serve: Any, answers: list[Answer], said: str) -> None:
    started = time.monotonic()
    made = direct(serve(*answers).url, timeout=1)
    assert made.board == direct("rules").board
    assert any(said in note and note.endswith("the rules directed instead") for note in made.notes), (
        made.notes
    )
    assert time.monotonic() - started < 8


def test_nobody_there() -> None:
    made = direct("http://127.0.0.1:9/v1#model", timeout=2)
    assert any("cannot be reached" in note for note in made.notes)


@pytest.mark.parametrize("address", ["rule", "ftp://host/v1", "http://", ""])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(RequestError, match="director must be"):
        direct(address)


def test_the_model_and_the_key(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "another service's")
    server = serve(says(json.dumps(GOOD)))
    direct(server.url + "#qwen3")
    assert server.asked[0][2]["model"] == "qwen3" and "authorization" not in server.asked[0][1]
    monkeypatch.setenv(KEY, "mine")
    direct(server.url + "#qwen3")
    assert server.asked[1][1]["authorization"] == "Bearer mine"
