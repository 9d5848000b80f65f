"""Tasks as masks: exact lengths, what each window is shown, seams, and a walk whose statistics are known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from longtake.diffusion import film
from longtake.diffusion.film import Chunk, Progress, Take

FRAME = (1, 2, 4, 4)


@dataclass
class Recorder:
    """A denoiser that draws every frame towards the mean of the known ones, and records each window."""

    windows: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, x: Tensor, sigma: Tensor, positions: Tensor) -> Tensor:
        self.windows.append((x.clone(), sigma.clone(), positions))
        return 0.5 * x


def take(denoise: Recorder | None = None, seed: int = 0, **changes: object) -> Take:
    made = Take(denoise or Recorder(), torch.Generator().manual_seed(seed), steps=2)
    return replace(made, **changes)  # type: ignore[arg-type]


def clip(frames: int, seed: int = 7) -> Tensor:
    return torch.randn(1, 2, frames, 4, 4, generator=torch.Generator().manual_seed(seed))


def test_every_length_is_exact() -> None:
    for frames in range(1, 41):
        assert film.collect(film.text_to_video(take(), FRAME, frames)).shape == (1, 2, frames, 4, 4)
        assert film.collect(film.image_to_video(take(), clip(1), frames)).shape[2] == frames
        for known in (1, 5, 30):
            for backward in (False, True):
                made = film.collect(film.extend(take(), clip(known), frames, backward))
                assert made.shape[2] == frames
        for sink in (2, 4):
            assert film.collect(film.text_to_video(take(sink=sink, keep=5), FRAME, frames)).shape[2] == frames
        assert film.collect(film.edit(take(), clip(frames))).shape[2] == frames
    for frames in range(1, 11):
        for known in (1, 3, 20):
            assert film.collect(film.connect(take(), clip(known), clip(6), frames)).shape[2] == frames
            assert film.collect(film.loop(take(), clip(known), frames)).shape[2] == frames


def test_windows_of_a_long_film_are_full_and_restart_at_position_one() -> None:
    seen = Recorder()
    film.collect(film.text_to_video(take(seen), FRAME, 27))
    known = [int((sigma[0] == 0.1).sum()) for _, sigma, _ in seen.windows[::2]]
    assert known == [0, 6, 6, 9]  # 12 + 6 + 6 + 3
    assert all(positions.tolist() == list(range(1, 13)) for *_, positions in seen.windows)


def test_the_image_slot_is_position_zero_and_dropped() -> None:
    seen = Recorder()
    still = clip(1)
    film.collect(film.image_to_video(take(seen), still, 12))
    x, sigma, positions = seen.windows[0]
    assert positions.tolist() == list(range(13))
    assert torch.equal(x[:, :, :1], still)
    assert sigma[0].tolist() == [0.0] + [1.0] * 12


def test_a_picture_is_one_latent_in_the_slot() -> None:
    seen = Recorder()
    assert film.collect(film.text_to_picture(take(seen), FRAME)).shape == (1, 2, 1, 4, 4)
    assert seen.windows[0][2].tolist() == [0]


@pytest.mark.parametrize("backward", [False, True])
def test_extension_is_shown_the_right_end_of_the_clip(backward: bool) -> None:
    seen, given = Recorder(), clip(20)
    film.collect(film.extend(take(seen, history_sigma=0.0), given, 12, backward))
    x = seen.windows[0][0]
    if backward:
        assert torch.equal(x[:, :, 6:], given[:, :, :6])
    else:
        assert torch.equal(x[:, :, :6], given[:, :, -6:])
    sigma = seen.windows[0][1][0]
    assert (sigma.flip(0) if backward else sigma).tolist() == [0.0] * 6 + [1.0] * 6


def test_second_window_continues_from_the_first_in_either_direction() -> None:
    for backward in (False, True):
        seen = Recorder()
        made = film.collect(film.extend(take(seen, history_sigma=0.0), clip(8), 12, backward))
        shown = seen.windows[2][0]  # two steps a window
        if backward:
            assert torch.equal(shown[:, :, 6:], made[:, :, 6:])
        else:
            assert torch.equal(shown[:, :, :6], made[:, :, :6])


def test_sinks_show_the_opening_of_the_shot_in_every_window() -> None:
    seen = Recorder()
    made = film.collect(film.text_to_video(take(seen, sink=2, keep=5, history_sigma=0.0), FRAME, 30))
    for window in (2, 4):
        assert torch.equal(seen.windows[window][0][:, :, :2], made[:, :, :2])
    assert torch.equal(seen.windows[4][0][:, :, 2:7], made[:, :, 12:17])


def test_bridges_know_four_latents_on_either_side() -> None:
    seen, first, last = Recorder(), clip(9, 1), clip(9, 2)
    film.collect(film.connect(take(seen), first, last))
    x, sigma, _ = seen.windows[0]
    assert sigma[0].tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 4
    assert torch.equal(x[:, :, :4], first[:, :, -4:]) and torch.equal(x[:, :, 8:], last[:, :, :4])
    seen.windows.clear()
    film.collect(film.loop(take(seen), first))
    x = seen.windows[0][0]
    assert torch.equal(x[:, :, :4], first[:, :, -4:]) and torch.equal(x[:, :, 8:], first[:, :, :4])


def test_edit_windows_share_frames_already_edited() -> None:
    seen, original = Recorder(), clip(20)
    made = film.collect(film.edit(take(seen, history_sigma=0.0), original, strength=0.5))
    assert seen.windows[0][1][0].tolist() == [0.5] * 12
    x, sigma, _ = seen.windows[2]
    assert sigma[0].tolist() == [0.0] * 4 + [0.5] * 8
    assert torch.equal(x[:, :, :4], made[:, :, 8:12])

    content = Take(lambda x, sigma, positions: x, torch.Generator().manual_seed(0))
    faint = film.collect(film.edit(content, original, strength=1e-3, overlap=0))
    assert (faint - original).abs().max() < 0.01


def test_a_random_walk_goes_on_from_where_it_is() -> None:
    """Exact denoiser of a stationary walk: new frames keep its variance and its step-to-step correlation."""
    correlation = 0.9

    def denoise(x: Tensor, sigma: Tensor, positions: Tensor) -> Tensor:
        covariance = correlation ** (positions[:, None] - positions).abs().float()
        keep, noise = torch.diag(1 - sigma[0]), torch.diag(sigma[0].square())
        gain = (
            covariance
            @ keep
            @ torch.linalg.inv(keep @ covariance @ keep + noise + 1e-5 * torch.eye(len(positions)))
        )
        return torch.einsum("fg,bcghw->bcfhw", gain, x)

    walk = Take(denoise, torch.Generator().manual_seed(0), steps=50, history_sigma=0.0, tolerance=None)
    made = film.collect(film.text_to_video(walk, (1, 1, 64, 64), 30))[0, 0].flatten(1)
    torch.testing.assert_close(made.std(1), torch.ones(30), atol=0.08, rtol=0)
    neighbours = torch.corrcoef(made).diagonal(1)
    torch.testing.assert_close(neighbours, torch.full((29,), correlation), atol=0.03, rtol=0)


def test_rollout_statistics_stay_near_the_first_window() -> None:
    def drifting(x: Tensor, sigma: Tensor, positions: Tensor) -> Tensor:
        return 1.5 * x[:, :, :1] + 0.5 * x

    def growth(tolerance: float | None) -> float:
        drift = Take(drifting, torch.Generator().manual_seed(0), steps=2, tolerance=tolerance)
        made = film.collect(film.text_to_video(drift, FRAME, 48))
        return (made[:, :, -6:].std() / made[:, :, :12].std()).item()

    assert growth(None) > 3
    assert 0.8 < growth(0.15) < 1.2


def test_chunks_stream_and_progress_reaches_one() -> None:
    events = list(film.text_to_video(take(), FRAME, 24))
    kinds = ["C" if isinstance(event, Chunk) else "p" for event in events]
    assert "".join(kinds) == "ppCppCppC"
    fractions = [event.fraction for event in events if isinstance(event, Progress)]
    assert fractions == sorted(fractions) and fractions[0] == pytest.approx(0.25) and fractions[-1] == 1
    preview = next(event for event in events if isinstance(event, Progress))
    assert preview.latents.shape == (1, 2, 12, 4, 4)


def test_seeds_repeat_and_closing_stops_the_work() -> None:
    first, second, other = (film.collect(film.text_to_video(take(seed=s), FRAME, 20)) for s in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    seen = Recorder()
    events = film.text_to_video(take(seen), FRAME, 40)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert len(seen.windows) == 1 and list(events) == []


def test_impossible_requests_say_what_is_valid() -> None:
    with pytest.raises(ValueError, match="at least one latent frame"):
        film.collect(film.text_to_video(take(), FRAME, 0))
    with pytest.raises(ValueError, match="1 to 10 latent frames"):
        film.collect(film.connect(take(), clip(4), clip(4), 11))
    with pytest.raises(ValueError, match="less than the window"):
        take(keep=8, sink=4)
    with pytest.raises(ValueError, match="one latent frame"):
        film.collect(film.image_to_video(take(), clip(2), 12))
    with pytest.raises(ValueError, match="b c f h w"):
        film.collect(film.extend(take(), clip(2)[0], 12))
