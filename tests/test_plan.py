"""What a board asks of each shot: lengths to the frame, seams on the take, and who depends on whom."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from longtake.film.plan import Rates, overlap, plan
from longtake.storyboard import Storyboard, build_storyboard

RATES = Rates(film=24, native=12, group=4)  # 8 frames a latent


def board(*shots: dict[str, Any], **values: Any) -> Storyboard:
    listed = [{"id": f"s{i}", "duration": 4} | shot for i, shot in enumerate(shots, start=1)]
    return build_storyboard({"seed": 1, "shots": listed} | values)


def test_a_plain_shot_has_just_the_latents_it_shows() -> None:
    plans = plan(board({}, {"duration": 2.5}, {"duration": 0.5}), RATES)
    assert [(p.frames, p.latents, p.skip, p.held) for p in plans] == [
        (96, 12, 0, 0),
        (60, 8, 0, 0),
        (12, 2, 0, 0),
    ]


def test_a_dissolve_takes_from_both_sides_of_the_cut() -> None:
    made = board(
        {},
        {"transition": {"type": "dissolve", "duration": 1.0}},
        {"transition": {"type": "fade", "duration": 1}},
    )
    plans = plan(made, RATES)
    assert [(p.lead_in, p.lead_out, p.frames) for p in plans] == [(0, 12, 108), (12, 0, 108), (0, 0, 96)]
    assert [overlap(made, i, 24) for i in range(4)] == [0, 24, 0, 0]


def test_a_transition_never_asks_for_more_than_a_shot_has() -> None:
    made = board(
        {"duration": 0.52},
        {"duration": 0.52, "transition": {"type": "wipe", "duration": 0.52}},
        {"duration": 0.53, "transition": {"type": "dissolve", "duration": 0.52}},
    )
    for index, (first, end) in enumerate(made.spans()):
        before, after = overlap(made, index, 24), overlap(made, index + 1, 24)
        assert (before - before // 2) + after // 2 <= end - first


@pytest.mark.parametrize("duration", [2.0, 2.1, 3.37, 5.0])
def test_shots_of_one_take_lie_on_one_row_of_latents(duration: float) -> None:
    made = board(
        {"duration": duration}, *({"duration": duration, "continue_from": f"s{i}"} for i in (1, 2, 3))
    )
    plans = plan(made, RATES)
    for one, following in pairwise(plans):
        assert following.begin == one.begin + one.frames
        assert following.held == one.held + one.latents  # nothing is made twice
        first_shown = following.held - int(following.shared)
        assert first_shown * 8 + following.skip == following.begin
        assert (following.latents + following.held) * 8 >= following.begin + following.frames
    assert [(p.past, p.future) for p in plans] == [(None, 1), (0, 2), (1, 3), (2, None)]


def test_memory_is_of_the_first_shot_of_each_character_and_of_the_place_at_that_place() -> None:
    people = [{"id": "a"}, {"id": "b"}, {"id": "p", "references": ["p.png"]}]
    shots = [
        {"characters": [{"id": "a"}], "location": "x"},
        {"characters": [{"id": "b"}, {"id": "p"}], "location": "y"},
        {"characters": [{"id": "a"}, {"id": "b"}, {"id": "p"}], "location": "x"},
        {"characters": [{"id": "a"}], "continue_from": "s3"},
        {"characters": [{"id": "a"}], "location": "y", "seed": 5},
        {"characters": [{"id": "p"}]},
    ]
    places = [{"id": "x"}, {"id": "y"}]
    plans = plan(board(*shots, characters=people, locations=places), RATES)
    assert [p.remembers for p in plans] == [(), (), (0,), (0,), (4, 1), ()]
    shots[0]["seed"] = 9  # made again, it remembers what it was
    assert plan(board(*shots, characters=people, locations=places), RATES)[0].remembers == (0,)


def test_seeds() -> None:
    plain, other = plan(board({}, {"seed": 5}), RATES)
    assert plain.seed != other.seed and not plain.is_retake and other.is_retake
    assert plan(board({}, {}, seed=2), RATES)[0].seed != plain.seed


def test_locked_shots_keep_their_seed_when_the_board_gets_another() -> None:
    made = board({"locked": True}, {})
    again = made.reseeded(9)
    assert plan(again, RATES)[0].shot.seed == plan(made, RATES)[0].seed
    assert again.shots[1].seed is None and again.seed == 9
