"""Of several takes the best is kept, its seed is the one on record, and the search ends with a take that is right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longtake import pipeline
from longtake.errors import RequestError
from longtake.film import make
from longtake.film.takes import Judge, Verdict, choose, seed_of, verdict
from longtake.judge.reading import Reading
from longtake.model import checkpoint
from longtake.model.checkpoint import Models
from longtake.provenance.verify import verify
from longtake.request import Film, build_request
from longtake.world.scene import Actor, Scene

PENGUIN, DOG = "1f427", "1f415"
WALK = Scene((Actor(PENGUIN, action="walk", direction="left"),), "meadow", shot="full")


def reading(
    certainty: dict[str, float], ends_at: float = 0.5, camera: str = "static", sure: float = 0.9
) -> Reading:
    """A clip whose first subject goes from the middle to `ends_at`, and whose words are those of WALK."""
    path = np.tile(np.array([0.5, 0.5, 0.2, 0.3, 1.0]), (8, 1))
    path[:, 0] = np.linspace(0.5, ends_at, 8)
    said = {"place": "meadow", "time": "noon", "weather": "clear", "shot": "full", "action": "walk"}
    chances = {slot: {word: sure, "other": 1 - sure} for slot, word in said.items()}
    return Reading({"camera": camera}, certainty, dict.fromkeys(certainty, path), chances=chances)


def test_a_take_is_better_the_more_of_what_was_asked_is_seen() -> None:
    best = verdict(WALK, reading({PENGUIN: 0.9, DOG: 0.0}, 0.2))
    assert best.right and best.score > -0.8
    worse = [
        reading({PENGUIN: 0.2, DOG: 0.0}, 0.2),  # hardly to be seen
        reading({PENGUIN: 0.9, DOG: 0.5}, 0.2),  # a dog too
        reading({PENGUIN: 0.9, DOG: 0.0}, 0.8),  # the other way
        reading({PENGUIN: 0.9, DOG: 0.0}, 0.2, camera="pan_left"),
        reading({PENGUIN: 0.9, DOG: 0.0}, 0.2, sure=0.3),  # another place, time, weather, scale and action
    ]
    for found in (verdict(WALK, each) for each in worse):
        assert found.score < best.score - 0.5 and not found.right


def test_what_the_judge_has_no_word_for_does_not_count() -> None:
    unknown = Scene((Actor("1f9ff", action="levitate"),), "moon", camera="orbit_left")
    assert verdict(unknown, reading({PENGUIN: 0.9})).score == pytest.approx(2 * np.log(0.9))  # noon and clear


def test_the_search_ends_with_the_first_take_that_is_right_and_keeps_the_best_otherwise() -> None:
    filmed: list[int] = []

    def film(number: int) -> Iterator[str]:
        filmed.append(number)
        yield f"take {number}"
        return number  # type: ignore[return-value]

    def run(scores: list[tuple[float, bool]], takes: int) -> Any:
        filmed.clear()
        steps = choose(film, lambda number: Verdict(*scores[number]), takes)  # type: ignore[arg-type, return-value]
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    assert run([(-3.0, False), (-1.0, False), (-2.0, False)], 3) == 1 and filmed == [0, 1, 2]
    assert run([(-3.0, False), (-1.0, True), (-0.5, True)], 3) == 1 and filmed == [0, 1]
    assert run([], 1) == 0 and filmed == [0], "one take is not judged"


def test_takes_have_seeds_of_their_own_and_the_first_has_the_shots() -> None:
    seeds = [seed_of(seed, take) for seed in (7, 8) for take in range(4)]
    assert len(set(seeds)) == 8 and seeds[0] == 7 and seeds[4] == 8


def test_the_record_names_the_seed_of_the_take_that_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Third(Judge):
        """Likes the third take."""

        judged = 0

        def __call__(self, *_: Any) -> Verdict:
            Third.judged += 1
            return Verdict(-1.0 if Third.judged == 3 else -2.0, False)

    monkeypatch.setattr(make, "Judge", Third)
    models = checkpoint.load()
    assert Judge.knows(models)
    how = {"seconds": 1, "size": "320x192", "fps": 12, "steps": 1, "seed": 5}
    request = build_request(prompt="a penguin walks", takes=4, **how)
    *_, made = pipeline.generate(request, tmp_path / "a.mp4", models, work=tmp_path / "w")
    assert Third.judged == 4 and isinstance(made, Film) and made.seed == 5
    assert made.storyboard is not None
    first = made.storyboard.seed_of(made.storyboard.shots[0])
    report = verify(tmp_path / "a.mp4")
    assert report.record is not None
    assert [trace["seed"] for trace in report.record["marks"]["latent_mark"]] == [seed_of(first, 2)]
    assert report.record["request"]["takes"] == 4


def test_long_films_have_fewer_takes() -> None:
    models = checkpoint.load()
    takes = [pipeline.settled(build_request(prompt="a dog", seconds=s), models).takes for s in (4, 30, 60)]
    assert takes == [3, 3, 2]
    assert pipeline.settled(build_request(prompt="a dog", seconds=60, takes=5), models).takes == 5


def test_a_model_whose_words_the_judge_does_not_know_films_once(models: Models) -> None:
    assert pipeline.settled(build_request(prompt="a dog"), models).takes == 1
    with pytest.raises(RequestError, match="--takes 1"):
        pipeline.settled(build_request(prompt="a dog", takes=2), models)
    with pytest.raises(RequestError, match="takes must be 1 to 16"):
        build_request(prompt="a dog", takes=0)


def test_the_judge_tells_a_drawn_penguin_from_a_drawn_dog() -> None:
    from longtake.judge.grader import shipped
    from longtake.judge.reading import read
    from longtake.train.data import shrink
    from longtake.world.atlas import Atlas
    from longtake.world.choreography import choreograph
    from longtake.world.stage import Stage

    atlas = Atlas.load(None, (PENGUIN, DOG))
    stage = Stage(atlas, 192, 320)
    scores = {}
    for code in (PENGUIN, DOG):
        scene = Scene(
            (Actor(code, action="walk", direction="left"),), "meadow", shot="full", seed=3, frames=16
        )
        clip = shrink(stage.render([choreograph(scene, atlas, 320 / 192)]), 2)[0].transpose(0, 1)
        scores[code] = verdict(WALK, read(shipped(), (clip * 255).to(torch.uint8))).score
    assert scores[PENGUIN] > scores[DOG] + 2
