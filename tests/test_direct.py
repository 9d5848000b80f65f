"""A prompt becomes a storyboard: what every board must be, and what each of the prompts in the table must give."""

from __future__ import annotations

import math
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from director_prompts import CHINESE, ENGLISH, Row

from longtake.director import compile, direct, identity, lint, propose, reading, repair
from longtake.director.setups import words
from longtake.errors import RequestError
from longtake.film.script import describe
from longtake.request import build_request
from longtake.storyboard import Storyboard, build_storyboard


def board_of(row: Row, fps: int = 24) -> Storyboard:
    prompt, seconds, one_take, _ = row
    return direct(prompt, seconds=seconds, one_take=one_take, seed=1, fps=fps)


def named(board: Storyboard, ids: list[str]) -> list[str]:
    return [board.character(i).name for i in ids]


def test_the_table_is_long_enough() -> None:
    assert len(ENGLISH) >= 30 and len(CHINESE) >= 30


@pytest.mark.parametrize("row", [*ENGLISH, *CHINESE], ids=lambda row: row[0][:40])
def test_every_board_is_a_film(row: Row) -> None:
    board = board_of(row)
    prompt, seconds, _, facts = row
    assert board.language == ("zh" if row in CHINESE else "en")
    if seconds is not None:
        assert math.isclose(board.seconds, seconds, abs_tol=1e-9)
    assert board == board_of(row), "the same prompt gives the same board"
    for shot in board.shots:
        assert abs(shot.duration * 24 - round(shot.duration * 24)) < 1e-6
        caption = compile(board, shot)
        for cast in shot.characters:
            assert board.character(cast.id).look.lower() in caption.lower(), (cast.id, caption)
        assert "{" not in caption and "  " not in caption
    for before, shot in pairwise(board.shots):
        if not shot.continue_from and not _named_twice(facts):
            assert (before.scale, before.angle) != (shot.scale, shot.angle), shot.id
    wrong = {f.rule for f in lint(board, seconds)}
    assert not wrong & {"length", "repeat", "axis", "facing", "place", "empty", "moves"}, prompt


def _named_twice(facts: dict[str, object]) -> bool:
    return bool(facts.get("same_setup"))


@pytest.mark.parametrize("row", [*ENGLISH, *CHINESE], ids=lambda row: row[0][:40])
def test_the_prompt_is_understood(row: Row) -> None:
    board, facts = board_of(row), row[3]
    shots = board.shots
    looks = [c.look.lower() for c in board.characters]
    if "shots" in facts:
        assert len(shots) == facts["shots"]
    for name in facts.get("cast", []):
        assert any(
            name in look or name in c.name.lower() for look, c in zip(looks, board.characters, strict=True)
        ), looks
    if facts.get("cast") == []:
        assert not board.characters
    if "look" in facts:
        assert facts["look"] in looks
    if "wardrobe" in facts:
        assert any(facts["wardrobe"] in c.wardrobe for c in board.characters)
    if "place" in facts:
        assert facts["place"] in board.locations[0].description
    if "places" in facts:
        assert len({place.description for place in board.locations} - {""}) == facts["places"]
    if "time" in facts:
        said = " ".join(f"{place.time} {compile(board, shots[0])}" for place in board.locations) or compile(
            board, shots[0]
        )
        assert facts["time"] in said
    if "facing" in facts:
        assert shots[0].characters[0].facing == facts["facing"]
    for field, values in (("scales", [s.scale for s in shots]), ("angles", [s.angle for s in shots]),
                          ("moves", [s.camera.move for s in shots]), ("transitions", [s.transition.type for s in shots]),
                          ("durations", [s.duration for s in shots])):  # fmt: skip
        if field in facts:
            assert values == facts[field]
    for index, scale in facts.get("scales_at", {}).items():
        assert shots[index].scale == scale
    for index, move in facts.get("moves_at", {}).items():
        assert shots[index].camera.move == move
    for index, names in facts.get("shot_cast", {}).items():
        assert sorted(named(board, [c.id for c in shots[index].characters])) == sorted(names)
    if "first_scale" in facts:
        assert shots[0].scale == facts["first_scale"]
    if facts.get("continues"):
        assert [s.continue_from for s in shots] == [None, *(s.id for s in shots[:-1])]
        assert all(s.transition.type == "cut" for s in shots)
    if "lines" in facts:
        spoken = [(board.character(line.character).name, line.text) for s in shots for line in s.dialogue]
        assert spoken == facts["lines"]
    if "narration" in facts:
        assert " ".join(s.narration for s in shots).strip() == facts["narration"]
    if "style" in facts:
        assert facts["style"].lower() in board.style.look.lower()


@pytest.mark.parametrize("seconds", [2, 3.7, 7.25, 13, 59.5, 60])
def test_lengths_are_exact(seconds: float) -> None:
    board = direct("a dog runs. A cat sleeps. A bird flies.", seconds=seconds)
    frames = round(seconds * board.fps)
    assert board.spans()[-1][1] == frames
    assert abs(board.seconds - frames / board.fps) < 1e-9


def test_too_many_shots_for_the_length() -> None:
    script = " ".join(f"Shot {i}: a dog walks." for i in range(1, 31))
    with pytest.raises(RequestError, match="30 shots do not fit into 5 seconds"):
        direct(script, seconds=5)


@pytest.mark.parametrize("seconds", [0, -3, 61, math.nan])
def test_lengths_that_cannot_be(seconds: float) -> None:
    with pytest.raises(RequestError, match=r"seconds must be 0.25 to 60"):
        direct("a dog", seconds=seconds)


@pytest.mark.parametrize("prompt", ["", "   ", "\n"])
def test_nothing_to_film(prompt: str) -> None:
    with pytest.raises(RequestError, match="prompt is empty"):
        direct(prompt, seconds=4)


def test_set_ups_keep_to_a_vocabulary() -> None:
    pocket = words("pocket")
    board = direct("a golden puppy plays in the snow", seconds=60, vocabulary=pocket)
    assert {s.scale for s in board.shots} <= set(pocket["shots"])
    assert {s.camera.move for s in board.shots} <= set(pocket["cameras"])


def test_honest_about_the_vocabulary() -> None:
    made = propose("a lion walks in the desert", seconds=4, vocabulary=words("pocket"))
    assert any("lion" in note for note in made.notes)
    with pytest.raises(RequestError, match="lion"):
        propose("a lion walks in the desert", seconds=4, vocabulary=words("pocket"), strict=True)


def test_notes_speak_the_language_of_the_prompt() -> None:
    script = "镜头一（4秒）：狮子跑。镜头二（4秒）：狗跳。"
    made = propose(script, seconds=10, vocabulary=words("pocket"))
    assert "脚本共 8 秒，已拉长到 10 秒" in made.notes and any("画不出“狮子”" in note for note in made.notes)
    with pytest.raises(RequestError, match="画不出“狮子”"):
        propose("狮子跑", vocabulary=words("pocket"), strict=True)
    shot = {"id": "s1", "duration": 3, "scale": "wide", "action": "一只狗跑"}
    board = build_storyboard({"language": "zh", "shots": (shot, shot | {"id": "s2"})})
    assert [str(f) for f in lint(board)] == ["s2: 切换后机位与 s1 相同（远景，平视）"]
    assert "s2: 景别由远景改为中全景，以免与上一镜头重复" in repair(board)[1]


def test_long_speech_gets_a_long_shot() -> None:
    said = "The night was long and the road was longer, and nobody knew where it would end for her."
    board = direct(f"A woman walks on a street. Narrator: {said} She stops. She looks back.", seconds=16)
    shot = next(s for s in board.shots if s.narration)
    assert shot.duration >= len(said.split()) / 2.5


def wrong_board(**changes: object) -> Storyboard:
    values = {
        "seed": 1,
        "characters": [{"id": "c1", "look": "a cat"}, {"id": "c2", "look": "a dog"}],
        "locations": [{"id": "l1", "description": "in a park"}, {"id": "l2", "description": "on a beach"}],
        "shots": [
            {"id": "s1", "duration": 4, "location": "l1", "action": "A cat looks at a dog.", "scale": "medium",
             "characters": [{"id": "c1", "position": "left"}, {"id": "c2", "position": "right"}]},
            {"id": "s2", "duration": 4, "location": "l1", "action": "A dog looks at a cat.", "scale": "wide",
             "characters": [{"id": "c1", "position": "left"}, {"id": "c2", "position": "right"}]} | changes,
        ],
    }  # fmt: skip
    return build_storyboard(values)


SWAPPED = [{"id": "c1", "position": "right"}, {"id": "c2", "position": "left"}]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"scale": "medium"}, "repeat"),
        ({"characters": SWAPPED}, "axis"),
        ({"action": "A dog looks up. The camera pans left.", "camera": {"move": "dolly_in"}}, "moves"),
        ({"narration": "word " * 60}, "speech"),
        ({"duration": 20}, "duration"),
        ({"location": "l2", "continue_from": "s1"}, "place"),
        ({"action": "", "characters": [], "location": None}, "empty"),
    ],
)
def test_lint_finds_and_repair_mends(changes: dict[str, object], rule: str) -> None:
    board = wrong_board(**changes)
    assert rule in {f.rule for f in lint(board)}
    mended, notes = repair(board)
    if rule in ("speech", "duration"):  # sixty words, or twenty seconds, do not fit into what is there
        assert abs(mended.seconds - board.seconds) < 1e-9
        return
    assert rule not in {f.rule for f in lint(mended)}
    assert any(note.startswith("s2: ") for note in notes)


def test_repair_leaves_locked_shots_and_good_boards_alone() -> None:
    locked = wrong_board(scale="medium", locked=True)
    assert repair(locked) == (locked, ())
    good = wrong_board()
    assert repair(good) == (good, ())
    longer, notes = repair(good, 10)
    assert abs(longer.seconds - 10) < 1e-9 and "durations" in notes[0]


def test_captions_name_everybody_in_full() -> None:
    board = build_storyboard(
        {
            "seed": 1,
            "characters": [
                {"id": "c1", "name": "Mia", "look": "a girl with red hair", "wardrobe": "a yellow raincoat"}
            ],
            "locations": [{"id": "l1", "description": "a rainy street", "time": "at night"}],
            "shots": [
                {
                    "id": "s1",
                    "duration": 4,
                    "location": "l1",
                    "action": "Mia walks.",
                    "characters": [{"id": "c1"}],
                },
                {
                    "id": "s2",
                    "duration": 4,
                    "location": "l1",
                    "action": "She smiles.",
                    "characters": [{"id": "c1"}],
                    "scale": "close_up",
                },
            ],
        }
    )
    words_ = identity(board.characters[0], "en")
    assert words_ == "a girl with red hair wearing a yellow raincoat"
    first, second = (compile(board, shot) for shot in board.shots)
    assert first == (
        "Wide shot. A girl with red hair wearing a yellow raincoat walks in a rainy street at night. "
        "The camera stays still."
    )
    assert second.startswith("Close-up. A girl with red hair wearing a yellow raincoat smiles")


@pytest.mark.parametrize(
    ("prompt", "place", "time"),
    [
        ("A dog runs. The dog jumps.", "meadow", "at noon"),
        ("a red car drives along a neon street", "neon street", "at night"),
        ("两只球滚来滚去，然后一只猫跑过来", "草", "中午"),
    ],
)
def test_what_the_script_leaves_open_is_settled_for_a_model_with_a_vocabulary(
    prompt: str, place: str, time: str
) -> None:
    """So that all shots of a film show the same place at the same time of day."""
    board = direct(prompt, seconds=8, vocabulary=words("pocket"))
    captions = [compile(board, shot) for shot in board.shots]
    assert all(time in caption for caption in captions), captions
    assert len(board.locations) == 1 and place in board.locations[0].description
    assert not direct("a dog runs", seconds=8).locations


def test_a_subject_left_out_is_the_one_before() -> None:
    board = direct("An elephant walks in the desert, then jumps, then stands", seconds=15)
    assert all("elephant" in compile(board, shot).lower() for shot in board.shots)


@pytest.mark.parametrize(
    ("prompt", "light"),
    [
        (
            "a penguin walks in a green meadow at noon, medium shot",
            "The scene is lit by bright midday light.",
        ),
        ("a cat sleeps in the living room at night, medium shot", "The scene is lit by warm lamplight."),
        ("夜晚，雪地里，一只企鹅站着，中景", "柔和的月光洒满画面。"),
        ("a penguin walks in a green meadow in the rain at noon", ""),  # then the weather is said
        ("a cat jumps in a green meadow in the golden light of sunset, medium shot", ""),  # said already
    ],
)
@pytest.mark.parametrize("vocabulary", [None, words("pocket")], ids=["any words", "the pocket model's"])
def test_the_light_says_the_time_again(
    prompt: str, light: str, vocabulary: dict[str, tuple[str, ...]] | None
) -> None:
    board = direct(prompt, seconds=4, vocabulary=vocabulary)
    caption = compile(board, board.shots[0])
    if light:
        assert light in caption
    else:
        assert "lit by" not in caption and "光洒满" not in caption


def test_weather_without_a_word_of_its_own_is_kept() -> None:
    board = direct("a penguin walks in a green meadow at noon", seconds=4)
    place = board.locations[0].model_copy(update={"weather": "drifting ash"})
    caption = compile(board.model_copy(update={"locations": (place,)}), board.shots[0])
    assert "rifting ash" in caption and "lit by" not in caption


def test_a_picture_is_completed_like_a_film_and_a_clip_shows_the_rest_itself() -> None:
    vocabulary = words("pocket")
    picture = describe(build_request(prompt="a cat in a meadow"), vocabulary).caption
    assert "at noon" in picture and "midday light" in picture and picture.startswith("Medium shot")
    clip = {"task": "extend", "video": Path("film.mp4")}
    carried_on = describe(build_request(prompt="the cat jumps", **clip), vocabulary).caption
    assert "noon" not in carried_on and "meadow" not in carried_on and "jumps" in carried_on
    turned = describe(build_request(prompt="the cat stands at night", **clip), vocabulary).caption
    assert "moonlight" in turned


@pytest.mark.parametrize(
    "words",
    ["then ", "she, ", "close-up. ", "the dog runs, and ", "while a dog runs ", "walks in the snow, ", "然后", "特写。", "在雪地里走，", "狗跑，"],
)  # fmt: skip
def test_the_work_grows_with_the_prompt_not_with_its_square(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    def counted(text: str, language: str) -> object:
        lengths.append(len(text))
        return speech(text, language)

    speech = reading.speech
    monkeypatch.setattr(reading, "speech", counted)  # called once for every text that is read anew

    def work(length: int) -> int:
        reading.read.cache_clear()
        lengths.clear()
        with suppress(RequestError):  # the joined words of some are more than a shot may have
            propose((words * length)[:length])
        return sum(lengths)

    assert work(2000) <= 8 * work(500)


def test_patterns_do_not_try_everything_twice() -> None:
    """Runs in a process of its own: a pattern that backtracks over all of a text does not come back."""
    texts = [
        "close-up " + "1" * 1900 + " dog",
        "特写" + "{" * 1900 + "狗跑",
        "小" * 1900 + "跑狗",
        "一只猫和一只狗，" + "他们" * 900,
    ]
    code = "import sys\nfrom longtake.director import propose\nfor text in sys.argv[1:]: print(len(propose(text).board.shots))"
    done = subprocess.run([sys.executable, "-c", code, *texts], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == len(texts)


@pytest.mark.parametrize(
    ("text", "filmed", "move"),
    [
        ("The camera pans right across a penguin in a meadow", "A penguin in a meadow", "pan_right"),
        ("The camera follows a dog running on a beach", "A dog running on a beach", "follow"),
        ("zoom out from a cat in the snow", "a cat in the snow", "zoom_out"),
        ("The camera orbits left around the two dogs", "The two dogs", "orbit_left"),
        ("The camera pans across a penguin as it jumps", "A penguin jumps", "pan_right"),
        ("The camera pushes in as a dog barks", "A dog barks", "dolly_in"),
        ("The camera pans across a meadow", "", "pan_right"),
    ],
)
def test_what_a_camera_moves_to_is_filmed(text: str, filmed: str, move: str) -> None:
    found = reading.read(text, "en")
    assert (found.action_text, found.move) == (filmed, move)


def test_next_to_somebody_is_no_cut_and_next_is() -> None:
    assert len(propose("a cat sits next to a dog", seconds=4).board.shots) == 1
    assert len(propose("A cat sits in the snow, next a dog barks", seconds=8).board.shots) == 2
