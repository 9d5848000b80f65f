"""The stage against geometry worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longtake.world import scenery
from longtake.world.atlas import Atlas
from longtake.world.scene import Tracks
from longtake.world.stage import Stage

FRAMES = 4


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return Atlas.load()


def tracks(
    atlas: Atlas, place: str = "meadow", time: str = "noon", rain: float = 0.0, **layer: float
) -> Tracks:
    """One ball one metre tall, five metres before a camera one metre up, focal length one frame height."""
    values = {
        "Z": 5.0,
        "h": 1.0,
        "a": 1.0,
        "squash": 1.0,
        "tex": atlas.frame_index("26bd", np.zeros(1))[0],
    } | layer
    keys = ("X", "Y", "Z", "h", "rot", "flip", "tex", "a", "glow", "bx", "by", "br", "squash")
    camera = {"cx": 0, "cy": 1, "cz": 0, "yaw": 0, "pitch": 0, "roll": 0, "focal": 1}
    return Tracks(
        layers={k: np.full((1, FRAMES), values.get(k, 0.0), np.float32) for k in keys},
        names=["26bd"],
        actor=[0],
        camera={k: np.full(FRAMES, v, np.float32) for k, v in camera.items()},
        weather={"rain": rain, "snow": 0.0, "fog": 0.0, "wind": 0.0, "wet": 0.0},
        place=place,
        time=time,
        style="render_3d",
        fps=12,
        events=[],
    )


def test_boxes_follow_the_pinhole(atlas: Atlas) -> None:
    """focal 100 px, depth 5 m: 20 px a metre; the floor is 20 px below the horizon at row 50."""
    truth = Stage(atlas, 100, 100).truth([tracks(atlas, X=1.0)])[0]
    wide = atlas.aspect("26bd") * 20
    assert truth["boxes"][0][0] == pytest.approx([70 - wide / 2, 50, 70 + wide / 2, 70], abs=0.05)
    assert truth["depth"][0][0] == pytest.approx(5)


def test_what_is_drawn_lies_in_its_box(atlas: Atlas) -> None:
    stage = Stage(atlas, 100, 100)
    with_ball, without = stage.render([tracks(atlas)]), stage.render([tracks(atlas, a=0.0)])
    changed = (with_ball - without).abs().amax(1)[0, 0] > 0.1
    rows, columns = torch.where(changed[:70])
    x0, y0, x1, _ = stage.truth([tracks(atlas)])[0]["boxes"][0][0]
    assert columns.min() >= x0 - 2 and columns.max() <= x1 + 2 and rows.min() >= y0 - 2
    assert len(rows) > 0.6 * (x1 - x0) * 20 * np.pi / 4


def test_windows_draw_what_the_whole_frame_draws(atlas: Atlas) -> None:
    """The CPU's windows are an optimisation: without them the picture is the same."""
    stage = Stage(atlas, 64, 96)
    scene = [tracks(atlas, X=0.3, rot=0.4)]
    fast = stage.render(scene)
    stage._window = lambda *_: (slice(0, 64), slice(0, 96))  # type: ignore[method-assign]
    assert torch.allclose(fast, stage.render(scene), atol=0.02)


def test_batch_equals_one_by_one(atlas: Atlas) -> None:
    stage = Stage(atlas, 48, 64)
    scenes = [tracks(atlas, X=-0.5), tracks(atlas, place="beach", time="night", X=0.5)]
    both = stage.render(scenes)
    assert torch.allclose(both, torch.cat([stage.render([s]) for s in scenes]), atol=2e-3)


def test_chunks_do_not_show(atlas: Atlas) -> None:
    scene = [tracks(atlas, place="neon_street", time="night", rain=1.0)]
    assert torch.allclose(
        Stage(atlas, 48, 64, chunk=2).render(scene), Stage(atlas, 48, 64).render(scene), atol=1e-5
    )


def test_what_is_under_ground_is_hidden(atlas: Atlas) -> None:
    stage = Stage(atlas, 100, 100)
    seen = [stage.truth([tracks(atlas, Y=y)])[0]["visible"][0][0] for y in (0.0, -0.5, -1.1)]
    assert seen[0] > seen[1] > 0.3 * seen[0] and seen[2] < 0.02 * seen[0]


def test_a_bite_takes_pixels_away(atlas: Atlas) -> None:
    stage = Stage(atlas, 100, 100)
    whole, bitten = (
        stage.truth([tracks(atlas, bx=0.9, by=0.3, br=r)])[0]["visible"][0][0] for r in (0.0, 0.25)
    )
    assert 0.6 * whole < bitten < 0.95 * whole


def test_no_rain_indoors(atlas: Atlas) -> None:
    stage = Stage(atlas, 48, 64)
    dry, rain = (stage.render([tracks(atlas, place="living_room", rain=r)]) for r in (0.0, 1.0))
    assert torch.equal(dry, rain)
    out_dry, out_rain = (stage.render([tracks(atlas, rain=r)]) for r in (0.0, 1.0))
    assert (out_dry - out_rain).abs().mean() > 0.01


def test_every_place_has_scenery_for_every_time() -> None:
    pictures = {}
    for place in scenery.PLACES:
        assert scenery.ground(scenery.look(place).ground).shape == (3, scenery.TILE, scenery.TILE)
        for time in scenery.TINTS:
            picture = scenery.sky(place, time, True)
            assert picture.shape == (3, scenery.SKY_HEIGHT, scenery.SKY_WIDTH)
            assert picture.min() >= 0 and picture.max() <= 1
        pictures[place] = scenery.sky(place, "noon", True).mean((1, 2))
    assert scenery.sky("meadow", "night", True).mean() < 0.6 * scenery.sky("meadow", "noon", True).mean()
