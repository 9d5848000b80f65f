"""Shots between others: exact lengths, and what each is shown of its neighbours."""

from __future__ import annotations

import pytest
import torch
from test_film import FRAME, Recorder, clip, take

from longtake.diffusion.shot import Surroundings, collect, make


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 9, 12, 30])
def test_every_shot_has_its_length(frames: int) -> None:
    for past in (None, clip(3), clip(20)):
        for future in (None, clip(2), clip(9, 3)):
            made = collect(make(take(), FRAME, frames, Surroundings(past=past, future=future)))
            assert made.shape == (1, 2, frames, 4, 4)
    for around in (Surroundings(still=clip(1)), Surroundings(echo=clip(1))):
        assert collect(make(take(), FRAME, frames, around)).shape[2] == frames


def test_a_shot_leads_into_what_follows() -> None:
    seen, past, future = Recorder(), clip(12, 1), clip(12, 2)
    collect(make(take(seen), FRAME, 10, Surroundings(past=past, future=future)))
    x, sigma, _ = seen.windows[-2]  # the first step of the bridge
    assert torch.equal(x[:, :, 8:], future[:, :, :4]) and sigma[0, 8:].tolist() == [0.0] * 4
    opening = seen.windows[0][0]
    assert not torch.equal(opening[:, :, 8:], future[:, :, :4])


def test_progress_of_a_shot_in_two_parts_only_rises() -> None:
    for past in (None, clip(5)):
        events = list(make(take(), FRAME, 20, Surroundings(past=past, future=clip(8))))
        shares = [event.fraction for event in events if hasattr(event, "fraction")]
        assert shares == sorted(shares) and shares[-1] == pytest.approx(1)


def test_memory_stands_before_every_window_and_is_not_returned() -> None:
    seen, memory = Recorder(), clip(2, 5)
    made = collect(make(take(seen, memory=memory, history_sigma=0.0), FRAME, 20, Surroundings()))
    assert made.shape[2] == 20
    for x, sigma, positions in seen.windows:
        assert positions.tolist() == [-16, -8, *range(1, 13)]
        assert torch.equal(x[:, :, :2], memory) and sigma[0, :2].tolist() == [0.0, 0.0]


def test_an_echo_starts_from_the_picture_before() -> None:
    seen, echo = Recorder(), clip(1, 4)
    collect(make(take(seen), FRAME, 12, Surroundings(echo=echo)))
    noise = Recorder()
    collect(make(take(noise), FRAME, 12, Surroundings()))
    x, sigma, _ = seen.windows[0]
    assert sigma[0].tolist() == pytest.approx([0.9] * 12)
    assert (x - 0.9 * noise.windows[0][0] - 0.1 * echo).abs().max() < 1e-5
