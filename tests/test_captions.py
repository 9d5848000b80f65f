"""Captions are grammatical in form and true in content."""

from __future__ import annotations

import random
import re

import pytest

from longtake.world.captions import LENGTHS, caption, script
from longtake.world.concepts import concept, find
from longtake.world.sampler import PRESETS, sample_scene
from longtake.world.scene import Actor, Scene

DOG, COOKIE, ELEPHANT = "1f415", "1f36a", "1f418"
LEFT = {"en": "left", "zh": "左"}
RIGHT = {"en": "right", "zh": "右"}


def many(preset: str, language: str, count: int = 600) -> list[tuple[Scene, str]]:
    rng = random.Random(7)
    scenes = [sample_scene(rng, PRESETS[preset]) for _ in range(count)]
    return [(scene, caption(scene, language, rng)) for scene in scenes]


@pytest.mark.parametrize("preset", ["pocket", "full"])
def test_form(preset: str) -> None:
    for _, text in many(preset, "en"):
        assert re.fullmatch(r"[ -~]+", text), text
        assert not re.search(r"[{}\[\]|]|  |,,|\.\.| [.,]|,\.|\ban? an? |\ba [aeio]\w|\bthe the\b", text), (
            text
        )
    for _, text in many(preset, "zh"):
        assert len(text) > 1 and not re.search(
            r"[{}\[\]|\s]|，，|。。|，。|^[，。：]|[a-zA-CE-Z]{3}", text
        ), text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_named_that_is_not_on_stage(language: str) -> None:
    subjects = set(PRESETS["pocket"].subjects)
    for scene, text in many("pocket", language):
        named = {c.code for c in find(text, language)} & subjects
        assert named <= {actor.code for actor in scene.actors}, (text, scene)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_directions_are_true_and_usually_named(language: str) -> None:
    rng, named = random.Random(0), 0
    for i in range(300):
        side = ("left", "right")[i % 2]
        scene = Scene((Actor(DOG, action="walk", direction=side),), "desert")
        text = caption(scene, language, rng, "short")
        first, second = (LEFT, RIGHT) if side == "left" else (RIGHT, LEFT)
        named += first[language] in text
        backwards = {"en": f"from {side}", "zh": f"从{first['zh']}"}[language]
        assert backwards not in text
        assert not re.search(rf"\b{second[language]}\b", text) or "from" in text or "从" in text, text
    assert named > 100


def test_agreement_articles_and_measures() -> None:
    rng = random.Random(0)
    texts = [
        caption(Scene((Actor(ELEPHANT, action="walk"),), "desert"), "en", rng, "short") for _ in range(60)
    ]
    assert any("n elephant" in t for t in texts) and not any(re.search(r"\ba elephant", t) for t in texts)
    for _ in range(60):
        text = caption(Scene((Actor(DOG, count=3, action="walk"),), "desert"), "en", rng, "short")
        assert "hree dogs" in text and not re.search(r"\b(walks|strolls|wanders|is walking)\b", text), text
        zh = caption(Scene((Actor(COOKIE, count=2, action="roll"),), "desert"), "zh", rng, "short")
        assert "两块" in zh


def test_pose_drawings_do_not_say_it_twice() -> None:
    rng = random.Random(0)
    scene = Scene((Actor("1f6b6-200d-2640", action="walk"),), "beach")
    assert not any("woman walking walk" in caption(scene, "en", rng) for _ in range(200))
    assert not any("走路的女人" in caption(scene, "zh", rng) for _ in range(200))


def test_interactions_name_both() -> None:
    rng = random.Random(0)
    scene = Scene((Actor(DOG), Actor(COOKIE)), "living_room", interaction="eat")
    for language in ("en", "zh"):
        for length in LENGTHS:
            codes = [c.code for c in find(caption(scene, language, rng, length), language)]
            assert DOG in codes and COOKIE in codes


def test_relations_keep_their_order() -> None:
    rng = random.Random(0)
    scene = Scene((Actor(DOG, action="stand"), Actor(COOKIE)), "desert", relation="left_of")
    dog = "|".join(concept(DOG).en)
    for _ in range(200):
        text = caption(scene, "en", rng, "short")
        assert "to the right" not in text and "right side" not in text and re.search(dog, text)


def test_lengths_and_determinism() -> None:
    scene = Scene((Actor(DOG, action="walk", direction="left"),), "desert", "sunset", camera="dolly_in")
    mean = {
        length: sum(len(caption(scene, "en", random.Random(i), length)) for i in range(60)) / 60
        for length in LENGTHS
    }
    assert mean["terse"] < mean["short"] < mean["medium"] < mean["long"]
    assert caption(scene, "zh", random.Random(5)) == caption(scene, "zh", random.Random(5))
    with pytest.raises(KeyError):
        caption(scene, "fr", random.Random(0))


def test_scripts_number_their_shots() -> None:
    rng = random.Random(0)
    shots = [Scene((Actor(DOG, action="walk"),), "desert", shot=s) for s in ("wide", "close_up")]
    for _ in range(30):
        text = script(shots, "en", rng)
        assert text.index("Shot 1") < text.index("Shot 2")
        zh = script(shots, "zh", rng)
        assert "一" in zh and ("镜头二" in zh or "第二镜" in zh)
