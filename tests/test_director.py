"""Understanding: known words pass, unknown ones are named, in both languages."""

from __future__ import annotations

import random

import pytest

from longtake.director import language_of, subject_names, understand
from longtake.errors import RequestError
from longtake.train.text import complete
from longtake.world.sampler import PRESETS, sample_scene

POCKET = PRESETS["pocket"]
WORDS = {
    "subjects": POCKET.subjects,
    "places": POCKET.places,
    "times": POCKET.times,
    "weathers": POCKET.weathers,
}


@pytest.mark.parametrize(
    "prompt",
    [
        "a dog walks in a snowy field",
        "a woman is walking in a pine forest at night",
        "a red car drives along a wet street in the rain",
        "一只企鹅在沙滩上跳",
        "一个女人走在雨中的霓虹街道上",
    ],
)
def test_known_words_pass_unchanged(prompt: str) -> None:
    found = understand(prompt, WORDS)
    assert found.caption == prompt and not found.substitutions


@pytest.mark.parametrize(
    ("prompt", "said", "language"),
    [
        ("a lion walks in a meadow", "lion", "en"),
        ("草地上有一头狮子", "狮子", "zh"),
        ("a fox at noon", "fox", "en"),
    ],
)
def test_replaced_by_the_nearest(prompt: str, said: str, language: str) -> None:
    found = understand(prompt, WORDS)
    assert found.language == language
    assert [s for s, _ in found.substitutions] == [said]
    used = found.substitutions[0][1]
    assert used in subject_names(WORDS, language) and used in found.caption and said not in found.caption
    assert any(said in note and used in note for note in found.notes)


def test_places_and_times_too() -> None:
    found = understand("a dog runs on the moon at dawn", WORDS)
    assert len(found.substitutions) == 2
    assert "at sunset" in found.caption and "moon" not in found.caption


def test_unknown_words_are_listed() -> None:
    assert understand("a dog and a zorblax in the snow", WORDS).unknown == ("zorblax",)
    assert "no thing known here" in understand("beauty", WORDS).hint
    assert understand("", WORDS).notes == ()


def test_article_agrees() -> None:
    assert "an elephant" in understand("a mammoth walks", WORDS | {"subjects": ("1f418",)}).caption


def test_strict() -> None:
    with pytest.raises(RequestError, match="lion"):
        understand("a lion", WORDS, strict=True)
    assert understand("a dog", WORDS, strict=True).caption == "a dog"


def test_language() -> None:
    assert language_of("a dog") == "en" and language_of("一只dog") == "zh"


@pytest.mark.parametrize(
    "prompt", ["A penguin walks. The camera dollies in.", "一只企鹅走着。镜头向前推进，摄像机固定。"]
)
def test_words_about_the_film_name_nothing_on_the_stage(prompt: str) -> None:
    assert understand(prompt, WORDS).caption == prompt


@pytest.mark.parametrize("language", ["en", "zh"])
def test_captions_of_the_training_set_pass_unchanged(language: str) -> None:
    rng = random.Random(5)
    for _ in range(300):
        caption = complete(sample_scene(rng, POCKET), language, rng)
        assert understand(caption, WORDS).caption == caption


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat by the window in an orange evening glow",  # no orange
        "the sun goes down, and a rocket flies over the beach",
        "a woman in a red dress walks past a house in the rain",
        "a static camera, the dog waves",
        "一个穿红裙子的女人在窗边",
        "这是一段3D卡通动画，光线明亮，一只猫",
        "马路上有一辆汽车",
    ],
)
def test_what_is_no_actor_is_not_recast(prompt: str) -> None:
    assert understand(prompt, WORDS).caption == prompt


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        ("a snowman waves in the snow", "a soccer ball waves in the snow"),  # whom it is about
        ("several mammoths in the snow", "several elephants in the snow"),
        ("an orange falls in the snow", "a cookie falls in the snow"),
        ("一张纸在飞", "一张纸箱在飞"),
    ],
)
def test_actors_are_recast(prompt: str, caption: str) -> None:
    assert understand(prompt, WORDS).caption == caption
