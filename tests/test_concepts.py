"""The vocabulary: files read whole, names found, abilities that make sense."""

from __future__ import annotations

import pytest

from longtake.world.concepts import (
    actions_of,
    belongs,
    concept,
    concepts,
    find,
    grammar,
    has_role,
    resting,
)

DOG, CAR, BALL, COOKIE, WOMAN = "1f415", "1f697", "26bd", "1f36a", "1f6b6-200d-2640"


def test_all_records_are_read() -> None:
    assert len(concepts()) == 857
    assert all(
        c.en and c.zh and c.height_m > 0 and c.facing in ("left", "right", "front")
        for c in concepts().values()
    )
    assert {len(grammar()[k]) for k in ("actions", "interactions", "places")} == {37, 25}


def test_variants_share_their_concept() -> None:
    player = concept("26f9")
    assert concept(player.variants["dark"]) is player
    with pytest.raises(KeyError):
        concept("no-such-code")


def test_find_takes_the_longest_name_and_whole_words() -> None:
    assert [c.code for c in find("a dog face looks at a cat", "en")] == ["1f436", "1f408"]
    assert [c.code for c in find("Two cookies and a soccer ball", "en")] == [COOKIE, BALL]
    assert find("a concatenation of cartons", "en") == []
    assert [c.code for c in find("一只小狗看着一块饼干", "zh")] == [DOG, COOKIE]


@pytest.mark.parametrize(
    ("code", "can", "cannot"),
    [
        (DOG, {"walk", "run", "stand"}, {"drive", "roll", "rest", "fly"}),
        (CAR, {"drive"}, {"stand", "walk", "fall"}),
        (BALL, {"roll", "bounce", "rest", "fall", "spin"}, {"walk", "stand"}),
        (WOMAN, {"walk"}, {"stand", "jump", "run"}),
    ],
)
def test_actions(code: str, can: set[str], cannot: set[str]) -> None:
    able = set(actions_of(concept(code)))
    assert can <= able and not cannot & able
    assert able <= set(grammar()["actions"])


def test_places_and_roles() -> None:
    assert belongs(concept(DOG), "living_room") and not belongs(concept(CAR), "living_room")
    assert has_role(concept(COOKIE), "edible") and not has_role(concept(CAR), "edible")
    assert has_role(concept(BALL), "round") and has_role(concept("1f95a"), "egg")
    assert (resting(concept(DOG)), resting(concept(CAR)), resting(concept(WOMAN))) == ("stand", "rest", "")
