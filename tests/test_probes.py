"""Probes ask only of held-out scenes that fit, and their numbers tell right clips from wrong ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from longtake.errors import RequestError
from longtake.evaluate import identity, report
from longtake.evaluate.clips import SETS, Clip
from longtake.evaluate.pocket import Result
from longtake.evaluate.probes import PROBES, Ratio, compare, ratios
from longtake.judge.reading import Reading
from longtake.world.atlas import Atlas
from longtake.world.captions import full_caption
from longtake.world.choreography import choreograph
from longtake.world.sampler import PRESETS, codes, is_held_out
from longtake.world.scene import Actor, Scene
from longtake.world.stage import Stage

POCKET = PRESETS["pocket"]
BALL, CAT = "1f3c0", "1f408"


@pytest.mark.parametrize("name", PROBES)
def test_scenes_of_a_probe_are_held_out_and_ask_its_question(name: str) -> None:
    probe = PROBES[name]
    scenes = probe.scenes(POCKET, 6, 48, 0)
    assert len(scenes) == 6 and scenes == probe.scenes(POCKET, 6, 48, 0) != probe.scenes(POCKET, 6, 48, 1)
    assert all(is_held_out(scene, POCKET.held_out_every) and scene.frames == 48 for scene in scenes)
    assert all(full_caption(scene, language) for scene in scenes for language in ("en", "zh"))
    path = np.tile(np.array([0.5, 0.5, 0.2, 0.2, 0.9]), (48, 1))
    every = {code: path for code in POCKET.subjects}
    states = {code: {"bitten": -path[:, 4], "asleep": -path[:, 4]} for code in POCKET.subjects}
    counts = {code: np.ones(48) for code in POCKET.subjects}
    seen = Reading({"camera": "static"}, dict.fromkeys(every, 0.9), every, counts, states)
    for (
        question
    ) in probe.questions.values():  # always an answer, and a clip in which nothing happens has it wrong
        answers = [question(scene, seen) for scene in scenes]
        assert None not in answers and not all(answers)


def test_counts_come_by_turns_and_are_said() -> None:
    scenes = PROBES["count"].scenes(POCKET, 6, 48, 0)
    assert [scene.actors[0].count for scene in scenes] == [1, 2, 3, 1, 2, 3]
    assert "two" in full_caption(scenes[1], "en") and "三" in full_caption(scenes[2], "zh")


def test_a_vocabulary_without_such_scenes_is_an_error() -> None:
    with pytest.raises(RequestError, match="gravity"):
        PROBES["falling"].scenes(replace(POCKET, actions=("stand",), subjects=(CAT,)), 1, 48, 0)


@pytest.mark.parametrize("name", ["falling", "collisions"])
def test_physics_is_measured_on_the_stage_exactly(name: str) -> None:
    """Read from exact paths every measure is there; a collision keeps its momentum."""
    atlas = Atlas.load(None, codes(PRESETS["probes"]))
    stage = Stage(atlas, 96, 160)
    probe = PROBES[name]
    found: dict[str, list[float | None]] = {measure: [] for measure in probe.measures}
    for scene in probe.scenes(POCKET, 6, 48, 0):
        tracks = choreograph(scene, atlas, 160 / 96)
        edges = stage.boxes([tracks])[0][0].numpy() / np.array([160, 96, 160, 96])
        paths = {}
        for layer, actor in enumerate(tracks.actor):
            if actor >= 0:
                x0, y0, x1, y1 = edges[:, layer].T
                paths[tracks.names[layer]] = np.stack(
                    [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 0 * x0 + 1], -1
                )
        for measure, rule in probe.measures.items():
            found[measure].append(rule(scene, paths, 12))
    for values in found.values():
        assert None not in values
    if name == "collisions":
        assert found["momentum"] == pytest.approx([1.0] * 6, abs=0.03)
    else:
        falls, bounces = found["gravity"][::2], found["gravity"][1::2]
        assert max(falls) < min(bounces)  # the stage's bounces are quicker than its falls
        assert found["rebound"][::2] == pytest.approx([0.42**2] * 3, abs=0.06)  # the stage's restitution
        assert found["rebound"][1::2] == pytest.approx([0.95**2] * 3, abs=0.12)


def clip(scene: Scene, generated: float, render: float = 0.9) -> Clip:
    """A clip whose subject, a ball, is this certain; it stands still in the generated one."""
    readings = {}
    for name, sure in (("renders", render), ("reconstructions", render), ("generated", generated)):
        path = np.tile(np.array([0.5, 0.5, 0.2, 0.2, sure]), (8, 1))
        path[:, 0] = np.linspace(0.3, 0.7, 8)
        counts = {BALL: np.full(8, int(sure > 0.3))}
        readings[name] = Reading({"place": scene.place}, {BALL: sure}, {BALL: path}, counts)
    return Clip(
        scene, "", {}, readings, torch.zeros(0), {BALL: readings["renders"].tracks[BALL]}, np.zeros(4)
    )


def test_four_numbers_of_a_question() -> None:
    one, two = Scene((Actor(BALL),), "beach"), Scene((Actor(BALL, count=2),), "beach")
    table = compare([clip(one, 0.9), clip(two, 0.9)], PROBES["count"].questions)
    assert table["count"] == {
        "renders": (0.5, 2), "reconstructions": (0.5, 2), "generated": (0.5, 2), "shuffled": (0.5, 2),
    }  # fmt: skip
    table = compare([clip(one, 0.9), clip(one, 0.1)], PROBES["count"].questions)
    assert table["count"]["renders"] == (1.0, 2) and table["count"]["generated"] == (0.5, 2)


def test_ratios_count_what_cannot_be_measured() -> None:
    scene = Scene((Actor(BALL),), "beach")
    clips = [clip(scene, 0.9), clip(scene, 0.1), clip(scene, 0.9)]

    def speed(scene: Scene, paths: dict[str, np.ndarray], fps: int) -> float | None:
        path = paths[BALL]
        return float(path[-1, 0] - path[0, 0]) if path[0, 4] > 0.3 else None

    table = ratios(clips, speed, 12)
    assert table["renders"] == Ratio(1.0, 1.0, 1.0, 3)
    assert table["generated"] == Ratio(pytest.approx(2 / 3), 1.0, pytest.approx(2 / 3), 3)
    clips[0].readings["generated"].tracks[BALL][-1, 0] = 0.3 + 3 * 0.4
    assert ratios(clips, speed, 12)["generated"].near == pytest.approx(1 / 3)
    assert math.isnan(ratios(clips, lambda *_: None, 12)["renders"].near)


# ---- identity ----


@pytest.mark.parametrize("dye", identity.DYES)
def test_dyes_are_told_apart_in_the_next_shot(dye: str) -> None:
    """On the stage's own pictures, read at the exact places: what the ceiling of the question is made of."""
    atlas = Atlas.load(None, codes(POCKET))
    scenes = identity.two_shots(POCKET, 1, 4, 0)[0]
    code = scenes[0].actors[0].code
    assert is_held_out(scenes[0], POCKET.held_out_every) and scenes[0].shot != scenes[1].shot
    assert f" {dye} " not in full_caption(scenes[0], "en")  # no caption names it
    looks = {}
    for name, colour in identity.DYES.items():
        stage = Stage(identity.dyed(atlas, code, colour), 96, 160)
        for number, scene in enumerate(scenes):
            tracks = choreograph(scene, atlas, 160 / 96)
            frames = (stage.render([tracks])[0] * 255).byte().permute(1, 0, 2, 3)
            x0, y0, x1, y1 = stage.boxes([tracks])[0][0][:, 0].numpy().T / np.array(
                [[160], [96], [160], [96]]
            )
            path = np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 0 * x0 + 1], -1)
            looks[name, number] = identity.appearance(frames, path)
    first = {name: look for (name, number), look in looks.items() if number == 0}
    assert identity.nearest(looks[dye, 1], first) == dye


def test_who_is_not_seen_looks_like_nobody() -> None:
    frames = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
    assert identity.appearance(frames, np.zeros((2, 5))) is None
    assert identity.nearest(None, {"red": np.ones(3)}) is None
    seen = identity.appearance(frames, np.tile(np.array([0.5, 0.5, 1, 1, 1.0]), (2, 1)))
    assert seen == pytest.approx([1 / 3] * 3)


def test_dyeing_keeps_the_shape_and_the_light() -> None:
    atlas = Atlas.load(None, (CAT,))
    red = identity.dyed(atlas, CAT, identity.DYES["red"])
    assert (red.tiles[..., 3] == atlas.tiles[..., 3]).all() and (
        red.tiles[..., :3] <= red.tiles[..., 3:]
    ).all()
    before, after = (a.tiles.reshape(-1, 4).astype(float).sum(0) for a in (atlas, red))
    assert after[0] / after[:3].sum() > before[0] / before[:3].sum() + 0.05
    luma = np.array([0.299, 0.587, 0.114])
    assert after[:3] @ luma == pytest.approx(before[:3] @ luma, rel=0.2)


# ---- the report ----


def test_the_report_holds_every_number_and_no_nan(tmp_path) -> None:
    row = {name: (0.5, 2) for name in SETS}
    nothing = {name: (math.nan, 0) for name in SETS}
    ratio = {name: Ratio(0.5, 1.2, 0.75, 4) for name in SETS} | {"shuffled": Ratio(0.0, math.nan, 0.0, 4)}
    result = Result({"subject": row}, {"whole": 25.0, "subject": 20.0}, {"count": row, "own film": nothing},
                    {"gravity": ratio}, {"subject": {5: 1.0}}, [])  # fmt: skip
    page = report.write_report(result, tmp_path).read_text()
    assert (
        "gravity" in page and "50 % near, median 1.20, 75 % measurable" in page and "nan" not in page.lower()
    )
    text = (tmp_path / "report.json").read_text()
    assert '"median": 1.2' in text and "NaN" not in text
