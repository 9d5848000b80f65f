"""The camera over a canvas: views cut out exactly, moves that go where they are told, takes that go on."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
import torch

from longtake.film.rig import CLOSEST, Rig, View, look, rigs
from longtake.finish.finisher import Finisher
from longtake.judge.camera import NAMES, movement
from longtake.storyboard import Camera, Shot

NOBODY = np.zeros((48, 4))


def canvas(width: int = 224, height: int = 96) -> torch.Tensor:
    """Blotches of all sizes, 3 h w."""
    generator = torch.Generator().manual_seed(3)
    layers = [torch.rand(1, 3, height // s, width // s, generator=generator) for s in (4, 8, 16)]
    grown = [torch.nn.functional.interpolate(x, (height, width), mode="bicubic") for x in layers]
    return torch.stack(grown).mean(0)[0].clamp(0, 1)


def rig(
    move: str = "static",
    *,
    margin: float = 0.4,
    seconds: float = 4.0,
    before: Rig | None = None,
    **camera: str,
) -> Rig:
    shot = Shot(id="a", duration=seconds, camera=Camera.model_validate({"move": move} | camera))
    frames = round(12 * seconds)
    if before is None:
        return rigs([shot], [None], [frames], [margin], [""], 12)[0]
    first = Shot(id="b", duration=1)
    made = rigs([first, shot], [None, 0], [12, frames], [margin] * 2, [""] * 2, 12)
    assert made[0].end == View()
    return made[1]


def test_a_view_of_whole_pixels_is_a_cut_out() -> None:
    whole = canvas()
    assert torch.equal(look(whole, View(), 160), whole[..., 32:192])
    for x in (-0.2, -0.05, 0.1, 0.2):
        left = 32 + round(160 * x)
        assert torch.allclose(look(whole, View(x=x), 160), whole[..., left : left + 160], atol=1e-4)
    assert look(whole, View(0.02, 0.03, 1.3, 0.1), 160).shape == (3, 96, 160)


@pytest.mark.parametrize("margin", [0.0, 0.4])
@pytest.mark.parametrize("move", [name for name in NAMES if name != "follow"])
def test_registration_sees_the_move_that_was_asked_for(move: str, margin: float) -> None:
    whole = canvas(224 if margin else 160)
    moved = rig(move, margin=margin)
    film = torch.stack([moved(whole, moment) for moment in range(48)])
    assert film.shape == (48, 3, 96, 160)
    assert movement((film * 255).byte(), NOBODY).name(0.5) == move


def test_no_view_leaves_the_canvas() -> None:
    for move in (
        "pan_left",
        "pan_right",
        "dolly_in",
        "dolly_out",
        "tilt_up",
        "roll_left",
        "crane_down",
        "orbit_left",
    ):
        for support in ("tripod", "handheld"):
            moved = rig(move, speed="fast", support=support, seconds=30)
            for moment in range(0, 360, 7):
                view = moved.at(moment)
                assert view == view.within(0.4) and 1 <= view.zoom <= CLOSEST


def test_a_slow_short_pan_covers_less_and_lies_around_the_middle() -> None:
    short, long = rig("pan_right", seconds=1), rig("pan_right", seconds=10)
    assert 0 < short.end.x < long.end.x == pytest.approx(0.2)
    assert short.begin.x == -short.end.x and rig("pan_left", seconds=1).end.x == short.begin.x
    assert rig("pan_right", seconds=1, speed="fast").end.x > short.end.x


def test_a_shot_goes_on_where_the_one_before_ended() -> None:
    shots = [
        Shot(id=f"s{i}", duration=4, camera=Camera.model_validate({"move": move}))
        for i, move in enumerate(["dolly_in", "pan_right", "static", "dolly_out", "dolly_out", "static"])
    ]
    made = rigs(shots, [None, 0, 1, 2, 3, None], [48] * 6, [0.4] * 6, [""] * 6, 12)
    for before, after in pairwise(made[:5]):
        assert after.begin == before.end
        assert asdict(after.at(0)) == pytest.approx(asdict(before.at(47)))
    assert made[1].end.zoom == made[0].end.zoom and made[2].end == made[1].end
    assert made[4].end.zoom == pytest.approx(1) and made[5].is_at_rest


def test_a_camera_at_rest_shows_the_middle_and_a_hand_shakes() -> None:
    whole, still, shaken = canvas(), rig(), rig(support="handheld")
    assert still.is_at_rest and not shaken.is_at_rest
    assert torch.equal(still(whole, 7.5), whole[..., 32:192])
    views = {shaken.at(moment) for moment in range(24)}
    assert len(views) == 24 and max(abs(view.x) for view in views) < 0.03


def test_the_finisher_moves_the_camera_between_native_frames() -> None:
    """A still canvas under a pan: at twice the rate every finished frame is another view."""
    still = (canvas() * 2 - 1)[None, :, None].expand(1, 3, 4, 96, 224)
    finisher = Finisher((160, 96), 24, 12, rig("pan_right", seconds=1))
    frames = [*finisher.push(still), *finisher.flush()]
    assert len(frames) == 8 and frames[0].shape == (96, 160, 3)
    assert all((a != b).any() for a, b in pairwise(frames))
