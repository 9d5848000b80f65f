"""Who gets which window, and what a shot is framed by, in the shipped model's own words."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from longtake.film.framing import Framing, framed
from longtake.film.layout import lay_out
from longtake.film.plan import Rates, plan
from longtake.film.script import write
from longtake.model import checkpoint
from longtake.model.checkpoint import Models
from longtake.request import build_request
from longtake.storyboard import build_storyboard
from longtake.world.scene import Actor, Scene

PENGUIN, DOG = Actor("1f427", action="stand"), Actor("1f415", action="stand")
SCENE = Scene((PENGUIN,), "meadow", shot="full")
WHOLE = "the whole of it"


def test_one_character_at_rest_is_the_caption_itself() -> None:
    layout = lay_out(SCENE, WHOLE, "en", 10)
    assert layout.is_plain and layout.columns == layout.shown == layout.width == 10
    assert [part.caption for part in layout.parts] == [WHOLE]


@pytest.mark.parametrize(("relation", "order"), [("left_of", "penguin dog"), ("right_of", "dog penguin")])
def test_two_have_a_window_each_in_the_order_that_was_asked(relation: str, order: str) -> None:
    layout = lay_out(replace(SCENE, actors=(PENGUIN, DOG), relation=relation), WHOLE, "en", 10)
    assert [part.region.left for part in layout.parts] == [0, 4] and (layout.columns, layout.shown) == (
        14,
        10,
    )
    for part, own, other in zip(layout.parts, order.split(), order.split()[::-1], strict=True):
        assert own in part.caption and other not in part.caption and WHOLE not in part.caption


def test_whoever_acts_towards_the_left_stands_on_the_right() -> None:
    acts = Scene((replace(DOG, direction="left"), PENGUIN), "meadow", interaction="look_at")
    assert "penguin" in lay_out(acts, WHOLE, "en", 10).parts[0].caption


def test_whoever_passes_behind_crosses_the_picture_and_the_other_stands_before_it() -> None:
    scene = Scene((replace(DOG, direction="left"), PENGUIN), "meadow", interaction="pass_behind")
    mover, front = lay_out(scene, WHOLE, "zh", 10).parts
    assert "狗" in mover.caption and "企鹅" not in mover.caption and "企鹅" in front.caption
    assert re.search("向左|往左|左侧|左走|左边", mover.caption) and "站" in front.caption
    assert mover.region.front is None and front.region.front is not None
    assert mover.region.left == front.region.left == 0


def test_who_chases_another_runs_after_it() -> None:
    for way, order in (("right", "dog penguin"), ("left", "penguin dog")):
        scene = Scene((replace(DOG, direction=way), PENGUIN), "meadow", interaction="chase")
        for part, name in zip(lay_out(scene, WHOLE, "en", 10).parts, order.split(), strict=True):
            assert re.search(name if name == "penguin" else "dog|puppy|retriever", part.caption)
            assert way in part.caption and "walk" in part.caption


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_as_many_windows_as_are_asked_for_and_all_columns_are_covered(count: int) -> None:
    layout = lay_out(replace(SCENE, actors=(replace(PENGUIN, count=count),)), WHOLE, "zh", 10)
    assert len(layout.parts) == min(count, 5) and all("一只" in part.caption for part in layout.parts)
    lefts = [part.region.left for part in layout.parts]
    assert lefts == sorted(lefts) and lefts[0] == 0 and lefts[-1] + 10 == layout.columns
    layout.denoiser(lambda caption: lambda x, sigma, positions: x)  # raises where there is a gap


def test_many_are_asked_for_from_farther_away() -> None:
    shots = {
        count: lay_out(
            replace(SCENE, shot="medium", actors=(replace(PENGUIN, count=count),)), WHOLE, "zh", 10
        ).parts[0].caption
        for count in (2, 3)
    }  # fmt: skip
    assert "中景" in shots[2] and "全景" in shots[3]


@pytest.mark.parametrize("actors", [(PENGUIN,), (PENGUIN, DOG), (replace(PENGUIN, count=3),)])
@pytest.mark.parametrize(("picture", "margin"), [(10, 4), (16, 0), (16, 4), (20, 4)])
def test_margins_and_wide_pictures_are_filled(actors: tuple[Actor, ...], picture: int, margin: int) -> None:
    layout = lay_out(replace(SCENE, actors=actors, relation="left_of"), WHOLE, "en", 10, picture, margin)
    same = layout.denoiser(lambda caption: lambda x, sigma, positions: x)
    canvas = torch.randn(1, 2, 3, 6, layout.columns)
    assert torch.allclose(same(canvas, torch.ones(1, 3), torch.arange(3)), canvas, atol=1e-5)
    assert layout.kept(canvas).shape[-1] == picture + margin
    assert torch.equal(layout.at_rest(layout.kept(canvas)), layout.at_rest(canvas))
    assert layout.at_rest(canvas).shape[-1] == picture and layout.margin == pytest.approx(margin / picture)


def test_the_noise_of_the_picture_at_rest_is_what_a_mark_changes() -> None:
    layout = lay_out(SCENE, WHOLE, "en", 10, margin=4)
    canvas = torch.randn(1, 2, 3, 6, 14)
    changed = layout.marked(lambda noise, frames: noise + len(frames))(canvas, [0, 1, 2])
    assert torch.equal(changed[..., 2:12], canvas[..., 2:12] + 3)
    assert torch.equal(changed[..., :2], canvas[..., :2]) and torch.equal(changed[..., 12:], canvas[..., 12:])


# ---- films ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pocket() -> Models:
    return checkpoint.load()


def framing(models: Models, *shots: dict[str, Any], **options: Any) -> Framing:
    listed = [{"id": f"s{i}", "duration": 4} | shot for i, shot in enumerate(shots, start=1)]
    size, seed = options.pop("size", "320x192"), options.pop("seed", 0)
    board = build_storyboard({"size": size, "fps": 12, "seed": seed, "shots": listed})
    request = build_request(storyboard=board, **options)
    plans = plan(board, Rates(12, models.config.fps, models.config.vae.group))
    return framed(write(request, models.extra.get("vocabulary", {})), plans, request, models)


def camera(move: str) -> dict[str, Any]:
    return {"camera": {"move": move}}


def test_a_prompt_with_two_characters_is_filmed_in_two_windows(pocket: Models) -> None:
    request = build_request(prompt="a penguin and a turtle on a meadow at noon")
    script = write(request, pocket.extra["vocabulary"])
    found = framed(script, plan(script.board, Rates(24, 12, 4)), request, pocket)
    first, second = found.layouts[0].parts
    assert "penguin" in first.caption and "penguin" not in second.caption
    assert re.search("turtle|tortoise", second.caption) and not re.search("turtle|tortoise", first.caption)


def test_every_shot_of_a_take_has_the_margin_that_one_of_them_wants(pocket: Models) -> None:
    found = framing(
        pocket,
        {"action": "a penguin stands"},
        {"action": "a penguin stands", "continue_from": "s1"} | camera("pan_right"),
        {"action": "a penguin stands", "continue_from": "s2"},
        {"action": "a penguin stands"} | camera("dolly_in"),
    )
    assert [layout.shown for layout in found.layouts] == [14, 14, 14, 10]
    first, panned, after, closer = found.cameras
    assert first is not None and panned is not None and after is not None and closer is not None
    assert first.is_at_rest and panned.begin == first.end and after.begin == after.end == panned.end
    assert panned.end.x > 0.1 and closer.begin.zoom == 1 < closer.end.zoom
    assert all(scene.camera == "static" for scene in found.scenes), (
        "takes are compared before the camera moves"
    )
    assert "pan" not in found.layouts[1].parts[0].caption


def test_a_retake_is_told_the_same_words(pocket: Models) -> None:
    """Whatever carries the shot on depends on its first version, so that must be the same film."""
    pair = {"action": "a penguin and a dog stand"}
    told = framing(pocket, pair, pair | {"continue_from": "s1"}, seed=1).layouts
    assert framing(pocket, pair | {"seed": 99}, pair | {"continue_from": "s1"}, seed=1).layouts == told
    assert len(told[0].parts) == 2


def test_a_camera_that_follows_goes_where_the_lead_goes(pocket: Models) -> None:
    for way, sign in (("left", -1), ("right", 1)):
        cast = {"characters": [{"id": "p", "facing": way}], "action": f"the penguin walks to the {way}"}
        board = build_storyboard({
            "size": "320x192", "fps": 12, "characters": [{"id": "p", "look": "a penguin"}],
            "shots": [{"id": "s1", "duration": 4} | cast | camera("follow")],
        })  # fmt: skip
        request = build_request(storyboard=board)
        found = framed(
            write(request, pocket.extra["vocabulary"]), plan(board, Rates(12, 12, 4)), request, pocket
        )
        assert found.cameras[0] is not None and sign * found.cameras[0].end.x > 0.1


def test_wide_films_are_made_wide_and_others_are_cut_to_shape(pocket: Models) -> None:
    shot = {"action": "a penguin stands"}
    pictures = {
        size: framing(pocket, shot, size=size).layouts[0].picture for size in ("1120x480", "1280x720")
    }
    assert pictures == {"1120x480": 14, "1280x720": 10}


def test_a_picture_to_begin_with_or_an_animatic_is_filmed_as_it_is(pocket: Models) -> None:
    pair = {"action": "a penguin and a dog stand"} | camera("pan_left")
    begun = framing(pocket, pair, image=Path("somewhere.png"))
    assert begun.layouts[0].is_plain and begun.cameras[0] is not None, "the camera moves within the picture"
    assert begun.cameras[0].margin == 0 and begun.cameras[0].end.zoom > 1
    guided = framing(pocket, pair, guide="animatic")
    assert guided.layouts[0].is_plain and guided.cameras == [None]
    assert "pan" in guided.layouts[0].parts[0].caption.lower()


def test_other_models_are_asked_for_the_whole_shot(models: Models) -> None:
    found = framing(models, {"action": "a penguin and a dog stand"} | camera("pan_left"))
    assert found.layouts[0].is_plain and found.cameras == [None] and not found.scenes
