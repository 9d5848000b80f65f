"""Storyboards: the JSON a person edits, and errors that name field and value."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from longtake.errors import RequestError
from longtake.storyboard import Storyboard, build_storyboard, load_storyboard, save_storyboard

BOARD: dict[str, Any] = {
    "version": 1,
    "title": "雨夜",
    "language": "en",
    "size": "1280x720",
    "fps": 24,
    "seed": 7,
    "style": {"look": "", "palette": [], "negative": ""},
    "characters": [{"id": "c1", "name": "Ada", "look": "", "wardrobe": "", "voice": "", "references": []}],
    "locations": [{"id": "l1", "description": "a street", "time": "night", "weather": "rain"}],
    "shots": [
        {
            "id": "s1",
            "duration": 4.0,
            "location": "l1",
            "characters": [{"id": "c1", "position": "left", "facing": "right"}],
            "scale": "wide",
            "angle": "eye_level",
            "camera": {"move": "dolly_in", "speed": "slow", "support": "tripod"},
            "action": "walks",
            "narration": "",
            "dialogue": [{"character": "c1", "text": "Hello."}],
            "sound": "",
            "transition": {"type": "cut", "duration": 0},
            "continue_from": None,
            "seed": None,
            "locked": False,
        },
        {"id": "s2", "duration": 2.5, "transition": {"type": "dissolve", "duration": 0.5}},
        {"id": "s3", "duration": 3.3, "continue_from": "s2"},
    ],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The board with one value put at a dotted path."""
    board = copy.deepcopy(BOARD)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner: Any = board
    for part in parents:
        inner = inner[part]
    inner[last] = value
    return board


def test_the_written_form_is_read_and_written_back() -> None:
    board = build_storyboard(BOARD)
    assert board.seconds == pytest.approx(9.8) and (board.width, board.height) == (1280, 720)
    written = json.loads(board.to_json())
    assert written["shots"][0] == BOARD["shots"][0] and list(written) == list(BOARD)
    assert build_storyboard(written) == board


def test_lookups_name_the_nearest() -> None:
    board = build_storyboard(BOARD)
    assert board.shot("s2").duration == 2.5
    assert board.character("c1").name == "Ada" and board.location("l1").weather == "rain"
    with pytest.raises(RequestError, match="no shot 's9'; valid: s1, s2, s3; did you mean"):
        board.shot("s9")


def test_spans_add_up_to_the_film_without_a_lost_frame() -> None:
    board = build_storyboard(changed("shots.1.duration", 2.53))
    for fps in (12, 24):
        spans = board.spans(fps)
        assert spans[0][0] == 0 and spans[-1][1] == round(board.seconds * fps)
        assert all(a[1] == b[0] for a, b in pairwise(spans))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("shots.0.duration", 0, r"shots\[0\].duration: must be 0.25 to 60 seconds, not 0; try 4"),
        ("shots.0.duration", float("nan"), r"shots\[0\].duration: .*finite number, not nan"),
        ("shots.0.duration", "long", r"shots\[0\].duration: .*not 'long'"),
        ("shots.0.duration", 59, r"add up to 64.8 seconds, 4.8 more than the 60"),
        ("shots.0.durration", 4, r"shots\[0\].durration: unknown field; did you mean duration"),
        ("shots.0.camera.mvoe", "static", r"shots\[0\].camera.mvoe: unknown field; did you mean move"),
        (
            "shots.0.camera.move",
            "dolly",
            r"shots\[0\].camera.move: 'dolly' is not valid; use static, pan_left",
        ),
        ("shots.0.camera.move", "dolly_inn", r"did you mean dolly_in\?"),
        ("shots.0.location", "l2", r"shots\[0\].location: no location 'l2'; valid: l1"),
        ("shots.0.characters.0.id", "c2", r"shots\[0\].characters\[0\].id: no character 'c2'; valid: c1"),
        (
            "shots.0.dialogue.0.character",
            "x",
            r"shots\[0\].dialogue\[0\].character: no character 'x'",
        ),
        ("shots.0.continue_from", "s2", r"shots\[0\].continue_from: no earlier shot 's2'; there is none"),
        ("shots.0.transition", {"type": "wipe", "duration": 1}, r"cannot begin with a wipe"),
        ("shots.1.transition", {"type": "cut", "duration": 1}, r"a cut takes no time, not 1"),
        ("shots.1.transition", {"type": "fade", "duration": 0}, r"more than 0 and at most 2 seconds, not 0"),
        ("shots.2.transition", {"type": "wipe", "duration": 1}, r"continues s2 has no wipe"),
        ("shots.1.duration", 0.5, None),
        ("shots.1.id", "s1", r"shots: the id 's1' stands there twice"),
        ("shots.1.id", "../etc", r"shots\[1\].id: .*pattern"),
        ("shots", [], r"shots: a film has 1 to 120 shots, not 0"),
        ("shots", [{"id": f"s{i}", "duration": 1} for i in range(500)], r"1 to 120 shots, not 500"),
        ("size", "1281x720", r"size: size 1281x720 cannot be made.*nearest is"),
        ("fps", 25, r"fps: fps must be one of .*, not 25"),
        ("seed", -1, r"seed: seed must be 0 to"),
        ("version", 2, r"version: 2 is not valid; use 1"),
        ("title", "x" * 2001, r"title: the text has 2001 characters; shorten"),
        ("language", "English", r"language: .*pattern"),
        ("charaters", [], r"charaters: unknown field; did you mean characters"),
    ],
)
def test_bad_boards_name_field_and_value(path: str, value: Any, message: str | None) -> None:
    if message is None:
        build_storyboard(changed(path, value))
        return
    with pytest.raises(RequestError, match=message) as raised:
        build_storyboard(changed(path, value))
    assert "\n" not in str(raised.value)


def test_a_transition_fits_the_shots_it_joins() -> None:
    board = changed("shots.1", {"id": "s2", "duration": 1, "transition": {"type": "wipe", "duration": 1.5}})
    with pytest.raises(RequestError, match=r"shots\[1\].transition.duration: 1.5 seconds are longer"):
        build_storyboard(board)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    board = build_storyboard(changed("characters.0.references", ["ada.png"]))
    save_storyboard(board, path)
    loaded = load_storyboard(path)
    assert loaded.characters[0].references == (tmp_path / "ada.png",)
    assert loaded.shots == board.shots and [p.name for p in tmp_path.iterdir()] == ["board.json"]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as some editors save
    assert isinstance(load_storyboard(path), Storyboard)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON at line 1"),
        (b'{"shots": [}', "not valid JSON at line 1"),
        (b"[]", "a JSON object with 'shots', not a list"),
        (b"{}", "shots: missing"),
        ("雨".encode("gb18030"), "not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "board.json"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=message):
        load_storyboard(path)
    with pytest.raises(RequestError, match=r"cannot read the storyboard .*none\.json"):
        load_storyboard(tmp_path / "none.json")
    with pytest.raises(RequestError, match="cannot write the storyboard"):
        save_storyboard(build_storyboard(BOARD), tmp_path / "none" / "board.json")
