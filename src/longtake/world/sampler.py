"""Random scenes that make sense: who can be where, do what, in which weather.

A `Vocabulary` says which words are in play; `sample_scene` draws one scene from it in well under a
millisecond. Some pairs of subject and place, and of subject and action, are held out by a hash that never
changes: training never sees them, evaluation asks for them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from longtake.world.choreography import PROPS
from longtake.world.concepts import (
    Concept,
    actions_of,
    belongs,
    concept,
    concepts,
    grammar,
    has_role,
    resting,
)
from longtake.world.interactions import COMPANIONS
from longtake.world.motion import TRAVELS
from longtake.world.scene import Actor, Scene

SHOT_WEIGHTS = {
    "extreme_wide": 0.3,
    "wide": 1.6,
    "full": 4.0,
    "medium": 4.0,
    "close_up": 1.0,
    "extreme_close_up": 0.2,
}
_SALT = "longtake-274"
"""Fixed for ever: another salt would hold out other pairs."""


@dataclass(frozen=True)
class Vocabulary:
    """The words a sampler may use. Shares are probabilities."""

    subjects: tuple[str, ...]
    places: tuple[str, ...]
    times: tuple[str, ...]
    weathers: tuple[str, ...]
    shots: tuple[str, ...]
    cameras: tuple[str, ...]
    actions: tuple[str, ...]
    held_out_every: int = 20
    relations: tuple[str, ...] = ("left_of", "right_of")
    interactions: tuple[str, ...] = ()
    angles: tuple[str, ...] = ("eye_level",)
    styles: tuple[str, ...] = ("render_3d",)
    sizes: tuple[str, ...] = ()
    counts: tuple[int, ...] = (1,)
    manners: tuple[str, ...] = ("slow", "fast")
    colours: bool = False
    """Name the colours of things now and then."""
    pairs: float = 0.15
    """Share of scenes with two actors in a relation."""
    interacting: float = 0.0
    """Share of scenes with an interaction."""
    still_camera: float = 0.6


def _held(pair: str, every: int) -> bool:
    return int.from_bytes(hashlib.sha256(f"{_SALT}:{pair}".encode()).digest()[:8], "big") % every == 0


def holds_out_place(code: str, place: str, every: int = 20) -> bool:
    """Whether training never shows this thing at this place."""
    return _held(f"{code}@{place}", every)


def holds_out_action(code: str, action: str, every: int = 20) -> bool:
    """Whether training never shows this thing doing this. Being still is never held out, nor anything a thing
    that cannot be still does: it might have nothing else."""
    rest = resting(concept(code))
    return bool(rest) and action not in ("rest", "stand", rest) and _held(f"{code}!{action}", every)


def is_held_out(scene: Scene, every: int = 20) -> bool:
    """Whether any actor of `scene` is in a held-out pair."""
    return any(
        holds_out_place(a.code, scene.place, every)
        or (not scene.interaction and holds_out_action(a.code, a.action, every))
        for a in scene.actors
    )


def fits(thing: Concept, action: str, place: str, weather: str = "") -> bool:
    """Whether an action can happen at a place (the thing's own ability is `actions_of`)."""
    here = grammar()["places"][place]
    rule = grammar()["actions"][action]
    if "water" in rule.get("needs", ()) and "water" not in here["habitat"]:
        return False
    if action in ("swim", "sail", "float_water") and (place == "undersea") == (action != "swim"):
        return False
    if place == "undersea" and action not in (
        "swim",
        "rest",
        "stand",
        "grow",
        "shrink",
        "walk",
        "crawl",
        "float",
    ):
        return False
    if here.get("no_ground"):
        return action in ("float", "fly", "spin", "grow", "shrink")
    if "places" in rule and place not in rule["places"]:
        return False
    if "weather" in rule and weather and weather not in rule["weather"]:
        return False
    if action == "pop_out":
        return (
            "hide_en" in here and "hide_zh" in here and (thing.animate or place in ("stage", "snowy_field"))
        )
    if action in ("rise", "fly") and here["indoor"]:
        return action == "fly" and thing.weight == "light"
    return True


@lru_cache(maxsize=8)
def _table(
    vocabulary: Vocabulary, held_out: bool
) -> tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], ...]:
    """(subject, ((place, actions), ...)) for everything the split allows."""
    every = vocabulary.held_out_every
    rows = []
    for code in vocabulary.subjects:
        thing = concept(code)
        able = [a for a in actions_of(thing) if a in vocabulary.actions]
        places = []
        for place in vocabulary.places:
            if not belongs(thing, place) or not grammar()["places"][place]["times"]:
                continue
            out = holds_out_place(code, place, every)
            here = [a for a in able if fits(thing, a, place)]
            if not any(w == "wind" for w in vocabulary.weathers):
                here = [a for a in here if a not in ("blown_away",)]
            chosen = [a for a in here if (out or holds_out_action(code, a, every)) == held_out]
            if chosen:
                places.append((place, tuple(chosen)))
        if places:
            rows.append((code, tuple(places)))
    return tuple(rows)


def sample_scene(rng: random.Random, vocabulary: Vocabulary, held_out: bool = False) -> Scene:
    """A scene of `vocabulary`. With `held_out` only such as training never sees, else never one of them."""
    table = _table(vocabulary, held_out)
    code, places = rng.choice(table)
    place, actions = rng.choice(places)
    thing = concept(code)
    action = _pick_action(rng, actions)
    here = grammar()["places"][place]
    weather = _weather(rng, vocabulary, place, action)
    time = rng.choice([t for t in vocabulary.times if t in here["times"]] or here["times"])
    camera = "static"
    others = [c for c in vocabulary.cameras if c != "static"]
    if others and rng.random() > vocabulary.still_camera:
        camera = rng.choice(others)
    actor = _actor(rng, vocabulary, thing, action)
    if camera == "follow" and (
        action not in TRAVELS or action in ("enter", "exit", "blown_away", "stop") or actor.count > 1
    ):
        camera = "static"
    if camera == "follow" and actor.direction not in ("left", "right"):
        actor = _with(actor, direction=rng.choice(("left", "right")))
    shot = _shot(rng, vocabulary, action, camera)
    cast: tuple[Actor, ...] = (actor,)
    interaction, relation = "", ""
    chance = rng.random()
    if chance < vocabulary.pairs and vocabulary.relations:
        second = _second(rng, vocabulary, code, place, held_out)
        relation = rng.choice(vocabulary.relations)
        if second and _relates(thing, concept(second), relation, action):
            quiet = actor.action if actor.action not in ("enter", "exit", "blown_away", "stop") else ""
            lead = Actor(code, colour=actor.colour, action=quiet or actions[0], direction=_side_only(actor))
            if quiet and actor.direction not in ("toward", "away"):
                still = resting(concept(second))
                cast = (lead, Actor(second, action=still))
                camera = "static" if camera == "follow" else camera
                shot = "medium" if shot.endswith("close_up") else shot
            else:
                relation = ""
        else:
            relation = ""
    elif chance < vocabulary.pairs + vocabulary.interacting:
        found = _interaction(rng, vocabulary, place, weather, held_out)
        if found:
            interaction, cast, weather = found
            camera = camera if camera.startswith(("static", "dolly", "zoom", "handheld")) else "static"
            shot = rng.choice(("wide", "full", "medium"))
    return Scene(
        actors=cast,
        place=place,
        time=time,
        weather=weather,
        shot=shot,
        camera=camera,
        angle=vocabulary.angles[0] if rng.random() < 0.8 else rng.choice(vocabulary.angles),
        style=vocabulary.styles[0] if rng.random() < 0.85 else rng.choice(vocabulary.styles),
        interaction=interaction,
        relation=relation,
        seed=rng.getrandbits(31),
    )


_BOUND = ("enter", "exit", "turn", "blown_away", "pop_out", "pop_out_of_snow")
"""Actions that come with a direction, a weather or a count of their own."""
OPPOSITE = {"left": "right", "right": "left", "left_of": "right_of", "right_of": "left_of"}


def twin(rng: random.Random, scene: Scene, vocabulary: Vocabulary) -> Scene:
    """`scene` with one word changed and every chance in it kept: the other way or side, another camera or action.

    What two such films differ in is that word's doing and nothing else's. The word is held out from training only
    if the scene's own was; a scene of which no word can change comes back with another camera.
    """
    lead, *others = scene.actors
    changes: list[Scene] = []
    if scene.relation in OPPOSITE:
        changes += 4 * [replace(scene, relation=OPPOSITE[scene.relation])]
    if lead.direction in OPPOSITE:
        turned = _with(lead, direction=OPPOSITE[lead.direction])
        changes += 4 * [replace(scene, actors=(turned, *others))]
    action = "" if others or scene.camera == "follow" else _other_action(rng, scene, vocabulary)
    if action:
        named = lead.direction if lead.direction in grammar()["actions"][action]["dirs"] else ""
        manner = lead.manner if action in TRAVELS else ""
        acts = replace(lead, action=action, direction=named, manner=manner)
        changes += 2 * [replace(scene, actors=(acts,))]
    cameras = [c for c in vocabulary.cameras if c not in (scene.camera, "follow")]
    if cameras and (scene.camera != "follow" or not changes):
        changes.append(replace(scene, camera=rng.choice(cameras)))
    return rng.choice(changes)


def _other_action(rng: random.Random, scene: Scene, vocabulary: Vocabulary) -> str:
    """Something else that the lead can do there, on the same side of the split; "" when there is nothing."""
    lead, held = scene.actors[0], is_held_out(scene, vocabulary.held_out_every)
    if scene.interaction or lead.action in _BOUND:
        return ""
    actions = dict(dict(_table(vocabulary, held)).get(lead.code, ())).get(scene.place, ())
    able = [
        a for a in actions if a != lead.action and fits(concept(lead.code), a, scene.place, scene.weather)
    ]
    return rng.choice(able) if able else ""


def _pick_action(rng: random.Random, actions: Sequence[str]) -> str:
    weights = [0.5 if a in ("grow", "shrink", "stop", "enter", "exit", "turn") else 1.0 for a in actions]
    return rng.choices(actions, weights)[0]


def _with(actor: Actor, direction: str) -> Actor:
    return replace(actor, direction=direction)


def _side_only(actor: Actor) -> str:
    return actor.direction if actor.direction in ("left", "right") else ""


def _actor(rng: random.Random, vocabulary: Vocabulary, thing: Concept, action: str) -> Actor:
    """The subject with its adjectives, direction and manner."""
    dirs = grammar()["actions"][action]["dirs"]
    direction = ""
    if action in ("enter", "exit", "turn"):
        direction = rng.choice(("left", "right"))
    elif dirs and rng.random() < (0.8 if action in TRAVELS else 0.35):
        direction = rng.choice(("left", "right"))
        along = thing.facing == "front" and action in (
            "roll",
            "walk",
            "fly",
            "run",
            "drive",
            "swim",
            "slide",
            "float",
        )
        if along and rng.random() < 0.15 and "toward" in dirs:
            direction = "toward" if thing.animate else rng.choice(("toward", "away"))
    manner = ""
    says = any("{adv" in pattern for pattern in grammar()["actions"][action]["en"])
    if vocabulary.manners and says and action in TRAVELS and rng.random() < 0.22:
        manner = rng.choice(vocabulary.manners)
        manner = "slow" if manner == "fast" and action == "walk" and rng.random() < 0.5 else manner
    count = (
        rng.choice(vocabulary.counts) if thing.kind not in ("building", "sky") and rng.random() < 0.4 else 1
    )
    if action in ("blown_away", "enter", "exit", "pop_out", "pop_out_of_snow"):
        count = 1
    size = rng.choice(vocabulary.sizes) if vocabulary.sizes and rng.random() < 0.12 else ""
    known = [c for c in thing.colours[:1] if c in grammar()["colours"]]
    colour = (
        known[0] if vocabulary.colours and known and rng.random() < 0.2 and len(thing.colours) == 1 else ""
    )
    return Actor(thing.code, count, size, colour, action, direction, manner)


def _shot(rng: random.Random, vocabulary: Vocabulary, action: str, camera: str) -> str:
    shots = [
        s
        for s in vocabulary.shots
        if not (s.endswith("close_up") and (action in TRAVELS or camera != "static"))
    ]
    return rng.choices(shots, [SHOT_WEIGHTS[s] for s in shots])[0]


def _weather(rng: random.Random, vocabulary: Vocabulary, place: str, action: str) -> str:
    here = grammar()["places"][place]
    if action == "blown_away" and "wind" in here["weather"]:
        return "wind"
    allowed = [w for w in vocabulary.weathers if w in here["weather"]]
    special = [w for w in allowed if w != "clear"]
    if not special or ("clear" in allowed and rng.random() < 0.55):
        return "clear"
    return rng.choice(special)


def _second(rng: random.Random, vocabulary: Vocabulary, first: str, place: str, held_out: bool) -> str:
    """Someone else who can be still at the place; in training not by a held-out pair."""
    for _ in range(8):
        code = rng.choice(vocabulary.subjects)
        thing = concept(code)
        if code == first or not resting(thing) or thing.pose or not belongs(thing, place):
            continue
        if not fits(thing, resting(thing), place):
            continue
        if not held_out and holds_out_place(code, place, vocabulary.held_out_every):
            continue
        return code
    return ""


def _relates(a: Concept, b: Concept, relation: str, action: str) -> bool:
    if relation == "on_top_of":
        return action in ("rest", "stand") and "support" in b.tags and a.weight != "heavy"
    if relation in ("in_front_of", "behind"):
        return action not in TRAVELS
    return True


def _interaction(
    rng: random.Random, vocabulary: Vocabulary, place: str, weather: str, held_out: bool
) -> tuple[str, tuple[Actor, ...], str] | None:
    """An interaction whose roles two things of the vocabulary can play at the place, on this side of the split."""
    name = rng.choice(vocabulary.interactions)
    rule = grammar()["interactions"][name]["requires"]
    here = grammar()["places"][place]
    if here.get("no_ground") or place == "undersea":
        return None
    if name == "blown_together" and "wind" not in here["weather"]:
        return None
    every = vocabulary.held_out_every
    for _ in range(12):
        a, b = (concept(rng.choice(vocabulary.subjects)) for _ in "AB")
        if a is b or not (belongs(a, place) and belongs(b, place)):
            continue
        if any(holds_out_place(x.code, place, every) for x in (a, b)) != held_out:
            continue
        if not all(any(has_role(x, r) for r in rule[k]) for x, k in ((a, "A"), (b, "B"))):
            continue
        if can_play(name, a, b):
            direction = (
                rng.choice(("", "left", "right"))
                if any("{dir" in p for p in grammar()["interactions"][name]["en"])
                else ""
            )
            cast = (Actor(a.code, action="stand", direction=direction), Actor(b.code, action="rest"))
            return name, cast, "wind" if name == "blown_together" else weather
    return None


def can_play(name: str, a: Concept, b: Concept) -> bool:
    """Finer sense than the roles of grammar.json: poses keep their pose, a bus hides behind no flower."""
    ground = {"walk", "run", "hop", "jump", "drive", "ride", "slither", "crawl", "roll"}
    goes = bool(ground & set(a.moves)) and not (a.pose and "walk" not in a.moves)
    if b.pose and name not in ("look_at", "pass_behind", "pass_in_front", "move_past"):
        return False
    if name in ("chase", "follow"):
        return goes and bool(ground & set(b.moves))
    if name == "meet":
        return goes and bool(ground & set(b.moves)) and a.animate and b.animate
    if name in ("bump_into", "pass_behind", "pass_in_front", "move_past", "circle_around", "run_away_from",
                "hide_behind", "kick", "push", "jump_over", "wake_up", "play_with"):  # fmt: skip
        if not goes or (a.pose and name not in ("pass_behind", "pass_in_front", "move_past")):
            return False
        if name in ("hide_behind", "pass_behind"):
            return b.height_m > 0.7 * a.height_m
        if name == "jump_over":
            return b.height_m < 1.3 * a.height_m
        return name != "wake_up" or (a.animate or a.kind == "vehicle")
    if name in ("fall_on", "crack_on_head", "land_on"):
        return not a.pose and a.height_m < 0.9 * b.height_m and a.kind not in ("person", "building")
    if name == "pop_out_of":
        return (
            not a.pose
            and a.height_m < 1.6 * b.height_m
            and a.kind in ("animal", "creature", "ball", "food", "object")
        )
    if name in ("eat", "drink"):
        return not a.pose and a.kind != "face"
    return not a.pose or name == "look_at"


_POCKET_SUBJECTS = (
    "1f415", "1f408", "1f6b6-200d-2640", "1f427", "1f996", "1f418", "1f407", "1f40e", "1f422",
    "1f697", "1f68c", "1f3c0", "26bd", "1f36a", "1f4e6", "1f680",
)  # fmt: skip


def _words(table: str) -> tuple[str, ...]:
    return tuple(grammar()[table])


def _full() -> Vocabulary:
    able = [c for c in concepts().values() if c.priority == 1 and c.kind != "sky" and actions_of(c)]
    balls = [
        c
        for c in concepts().values()
        if c.priority == 2 and (c.kind in ("ball", "food") or "container" in c.tags)
    ]
    return Vocabulary(
        subjects=tuple(c.code for c in able + balls),
        places=_words("places"),
        times=_words("times"),
        weathers=_words("weather"),
        shots=_words("shots"),
        cameras=_words("camera"),
        actions=_words("actions"),
        relations=_words("relations"),
        interactions=_words("interactions"),
        angles=("eye_level", "low", "high"),
        styles=("render_3d", "flat"),
        sizes=("tiny", "small", "big", "giant"),
        counts=(1, 2, 3, 4, 5, 6),
        manners=_words("speeds"),
        colours=True,
        pairs=0.15,
        interacting=0.2,
    )


_POCKET = Vocabulary(
    subjects=_POCKET_SUBJECTS,
    places=("snowy_field", "meadow", "beach", "neon_street", "living_room", "pine_forest", "desert"),
    times=("noon", "sunset", "night"),
    weathers=("clear", "rain", "snow"),
    shots=("wide", "full", "medium", "close_up"),
    cameras=("static", "dolly_in", "pan_left", "pan_right", "follow"),
    actions=(
        "stand", "rest", "walk", "run", "hop", "jump", "drive", "roll", "bounce", "fall", "fly", "float", "spin",
    ),
)  # fmt: skip

PRESETS: dict[str, Vocabulary] = {
    "pocket": _POCKET,
    # pocket's words, and what only its evaluation asks for: a grader must know more than the model it judges
    "probes": replace(
        _POCKET,
        counts=(1, 2, 3),
        interactions=("bump_into", "pass_behind", "wake_up", "eat", "eat", "eat"),  # few can eat a cookie
        interacting=0.3,
    ),
    "full": _full(),
}


def codes(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Every drawing that scenes of `vocabulary` may need, props included."""
    props = [code for place in vocabulary.places for code in PROPS[place]]
    return tuple(
        dict.fromkeys([*vocabulary.subjects, *props, *(COMPANIONS if vocabulary.interactions else ())])
    )
