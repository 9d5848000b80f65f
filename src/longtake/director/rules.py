"""The director that is always there: a prompt -> a Storyboard, by rules alone. Same prompt, same board.

parse the script -> fit the number of shots to the length -> cast -> places -> set-ups by film grammar -> durations.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from longtake.director import lexicon
from longtake.director.casting import Company, Role
from longtake.director.continuation import continuations
from longtake.director.notes import note
from longtake.director.places import usual_place, usual_time, usual_weather
from longtake.director.reading import Reading, read
from longtake.director.script import Beat, Script, _join, parse
from longtake.director.setups import Setup, Vocabulary, choose, plan, take_setup
from longtake.director.timing import LONGEST, SHORTEST, share_out, speaking_seconds
from longtake.director.vocabulary import language_of
from longtake.errors import RequestError
from longtake.fields import LONGEST_FILM
from longtake.storyboard import Cast, Line, Location, Shot, Storyboard, Style, Transition, build_storyboard

IDEAL = 5.0
"""Seconds of a shot when the story does not decide."""
_FASTEST = 0.5
"""Seconds of the shortest shot an explicit script may have."""


@dataclass
class _Plan:
    """One shot while it is planned."""

    beat: Beat
    reading: Reading
    setup: Setup
    weight: float
    speaks: bool
    """The lines and the narration of its beat are said in it."""
    people: list[Role]
    transition: Transition
    place: str = ""
    continues: bool = False


def by_rules(
    prompt: str,
    *,
    seconds: float | None,
    size: str,
    fps: int,
    seed: int,
    one_take: bool,
    vocabulary: Vocabulary,
) -> tuple[Storyboard, tuple[str, ...]]:
    """The board of a prompt, and what the user should know of it. Raises RequestError.

    `seconds` None: as long as the script says, else five seconds a shot.
    """
    language = language_of(prompt)
    script = parse(prompt, language)
    if not script.beats:
        raise RequestError("the prompt is empty; say what the film shows, for example 'a dog in the snow'")
    total, notes = _length(script, seconds, language)
    shoot = _one_take if one_take or script.one_take else _shots
    plans = shoot(script, total, vocabulary)
    company = Company(language)
    company.introduce(script.cast)
    _cast(plans, company)
    places = _places(plans, language, vocabulary)
    durations = _durations(plans, script, total, fps)
    shots = [
        _shot(index, plan, duration, company, plans)
        for index, (plan, duration) in enumerate(zip(plans, durations, strict=True))
    ]
    style = ", ".join(dict.fromkeys(s for s in (script.style, *(b.reading.style for b in script.beats)) if s))
    board = build_storyboard(
        {
            "title": script.title,
            "language": language,
            "size": size,
            "fps": fps,
            "seed": seed,
            "style": Style(look=style),
            "characters": tuple(role.as_character() for role in company.roles),
            "locations": places,
            "shots": tuple(shots),
        }
    )
    return board, tuple(notes)


def _length(script: Script, seconds: float | None, language: str) -> tuple[float, list[str]]:
    """Seconds of the film, and a note where the script says otherwise."""
    said = [beat.duration for beat in script.beats]
    own = math.fsum(d for d in said if d is not None)
    whole = own + IDEAL * sum(d is None for d in said)
    if seconds is None:
        if whole > LONGEST_FILM and not script.explicit:
            whole = LONGEST_FILM
        if whole > LONGEST_FILM:
            raise RequestError(
                f"the script is {whole:g} seconds long; a film lasts at most {LONGEST_FILM:g}: shorten it, or give --seconds"
            )
        return whole, []
    count = len(script.beats)
    if script.explicit and count * _FASTEST > seconds:
        raise RequestError(
            f"{count} shots do not fit into {seconds:g} seconds; give --seconds {math.ceil(count * SHORTEST)} or fewer shots"
        )
    if all(d is not None for d in said) and abs(own - seconds) > 0.05:
        kind = "stretched" if own < seconds else "shortened"
        return seconds, [note(kind, language, own=own, seconds=seconds)]
    return seconds, []


# ---- the number of shots --------------------------------------------------------------------------


def _shots(script: Script, seconds: float, vocabulary: Vocabulary) -> list[_Plan]:
    beats = list(script.beats)
    if not script.explicit:
        most = max(1, int(seconds / SHORTEST + 1e-9))
        while len(beats) > most:
            beats = _merge_pair(beats)
        least = math.ceil(seconds / LONGEST - 1e-9)
        count = max(len(beats), least, min(most, round(seconds / IDEAL)))
    else:
        count = len(beats)
    shares = [count // len(beats) + (i < count % len(beats)) for i in range(len(beats))]
    plans: list[_Plan] = []
    place = None
    index = 0
    before: Setup | None = None
    for i, (beat, n) in enumerate(zip(beats, shares, strict=True)):
        first = place is None or bool(beat.reading.place_words and beat.reading.place_words != place)
        place = beat.reading.place_words or place or ""
        roles = plan(n, beat.reading, first, i == len(beats) - 1)
        readings = _readings(beat, n, vocabulary)
        for k, (role, reading) in enumerate(zip(roles, readings, strict=True)):
            setup = choose(reading, role, before, vocabulary, index, count)
            weight = {"establish": 1.15, "closer": 0.85, "detail": 0.8, "end": 1.2}.get(role, 1.0)
            transition = beat.transition if k == 0 else Transition()
            plans.append(_Plan(beat, reading, setup, weight, k == min(1, n - 1), [], transition))
            before, index = setup, index + 1
    return plans


def _readings(beat: Beat, n: int, vocabulary: Vocabulary) -> list[Reading]:
    """What each of the `n` shots of a beat shows: the beat itself, and from the third on how it goes on."""
    here = beat.reading
    free = replace(here, scale="", angle="", move="") if n > 1 else here
    if n <= 2:
        return [here, *[free] * (n - 1)]
    more = continuations(here, n - 2, vocabulary)
    return [here, free, *[replace(read(text, here.language), style=here.style) for text in more]]


def _merge_pair(beats: list[Beat]) -> list[Beat]:
    """Join the two neighbours that belong together most: same place and shortest."""

    def cost(i: int) -> tuple[bool, bool, int]:
        a, b = beats[i].reading, beats[i + 1].reading
        moved = bool(b.place_words) and b.place_words != a.place_words
        return moved, bool(b.scale), len(a.text) + len(b.text)

    i = min(range(len(beats) - 1), key=cost)
    return [*beats[:i], _join(beats[i], beats[i + 1]), *beats[i + 2 :]]


def _one_take(script: Script, seconds: float, vocabulary: Vocabulary) -> list[_Plan]:
    """Pieces that carry the picture on; the camera moves all the time."""
    beats = list(script.beats)
    pieces = max(math.ceil(seconds / LONGEST - 1e-9), min(len(beats), max(1, int(seconds / SHORTEST))))
    while len(beats) > pieces:
        beats = _merge_pair(beats)
    shares = [pieces // len(beats) + (i < pieces % len(beats)) for i in range(len(beats))]
    plans: list[_Plan] = []
    before: Setup | None = None
    for beat, n in zip(beats, shares, strict=True):
        for k, reading in enumerate(_readings(beat, n, vocabulary)):
            setup = take_setup(reading, len(plans), before, vocabulary)
            plans.append(_Plan(beat, reading, setup, 1.0, k == 0, [], Transition(), continues=bool(plans)))
            before = setup
    return plans


# ---- who and where --------------------------------------------------------------------------------


def _cast(plans: list[_Plan], company: Company) -> None:
    for index, planned in enumerate(plans):
        same = index > 0 and plans[index - 1].beat is planned.beat
        if same and planned.reading.action_text == planned.beat.reading.action_text:
            planned.people = plans[index - 1].people
        else:
            planned.people = company.cast(planned.reading)
            if same and not planned.people:
                planned.people = plans[index - 1].people[:1]


def _places(plans: list[_Plan], language: str, vocabulary: Vocabulary) -> tuple[Location, ...]:
    """One location for each place at one time in one weather; what is not said carries over from before.

    For a model with a vocabulary, what the script never says is settled here, the same for all shots.
    """
    found: list[Location] = []
    words, key = _opening_place(plans, language, vocabulary)
    time, weather = usual_time(key, vocabulary), usual_weather(key, vocabulary)
    if not (
        words or time or any(r.place_words or r.time or r.weather for r in (p.beat.reading for p in plans))
    ):
        return ()
    for planned in plans:
        said = planned.beat.reading
        moved = (
            bool(said.place_words)
            and _standing(said.place_words, language) != words
            and (not said.place or said.place != key)
        )
        if moved:
            words, key = _standing(said.place_words, language), said.place
            weather = said.weather or usual_weather(key, vocabulary)
        time, weather = said.time or time, said.weather or weather
        where = Location(
            id=f"l{len(found) + 1}",
            description=words,
            time=_phrase("times", time, language),
            weather=_phrase("weather", weather, language),
        )
        known = next((p for p in found if p == where.model_copy(update={"id": p.id})), None)
        if known is None:
            found.append(known := where)
        planned.place = known.id
    return tuple(found)


def _opening_place(plans: list[_Plan], language: str, vocabulary: Vocabulary) -> tuple[str, str]:
    """(words, key) of where a film begins that does not say so: the first place it names, else its hero's usual one."""
    if not vocabulary:
        return "", ""
    named = next((p.beat.reading for p in plans if p.beat.reading.place_words), None)
    if named:
        return _standing(named.place_words, language), named.place
    key = usual_place([role.code for p in plans for role in p.people], vocabulary)
    return _phrase("places", key, language, "loc"), key


def _standing(words: str, language: str) -> str:
    """A place to be in, of a place passed through: "along a street" -> "on a street", "A meadow" -> "in a meadow"."""
    if language == "zh":
        return words
    on = re.search(
        r"\b(?:street|road|lane|beach|bridge|roof|rooftop|pier|balcony|stage|mountain|hill|cliff|moon|lawn)s?$",
        words,
        re.IGNORECASE,
    )
    way = re.match(
        r"(?:along|across|through|over|down|past|to|into|onto|from|out of)\s+", words, re.IGNORECASE
    )
    if way:
        words = f"{'on' if on else 'in'} {words[way.end() :]}"
    elif re.match(r"(?:a|an|the)\b", words, re.IGNORECASE):
        words = f"{'on' if on else 'in'} {words}"
    head, _, tail = words.partition(" ")
    return f"{head.lower()} {tail[0].lower()}{tail[1:]}" if tail else words


def _phrase(table: str, key: str, language: str, part: str = "") -> str:
    from longtake.world.concepts import grammar

    return str(grammar()[table][key][f"{language}_{part}" if part else language][0]) if key else ""


# ---- shots ----------------------------------------------------------------------------------------


def _durations(plans: list[_Plan], script: Script, seconds: float, fps: int) -> list[float]:
    said = [p.beat.duration for p in plans]
    if script.explicit and len(plans) == len(script.beats) and any(d is not None for d in said):
        given = math.fsum(d for d in said if d is not None)
        open_ = sum(d is None for d in said)
        rest = max(seconds - given, _FASTEST * open_)
        weights = [d if d is not None else rest / open_ for d in said]
        return share_out(weights, seconds, fps, [_FASTEST] * len(plans), LONGEST_FILM)
    least = []
    for planned in plans:
        spoken = planned.beat.reading if planned.speaks else None
        needed = _spoken(spoken) if spoken else 0.0
        least.append(min(max(SHORTEST, needed), LONGEST))
    weights = [max(p.weight, needed / IDEAL) for p, needed in zip(plans, least, strict=True)]
    return share_out(weights, seconds, fps, least)


def _spoken(reading: Reading) -> float:
    return math.fsum(
        speaking_seconds(text) for text in (reading.narration, *(words for _, words in reading.lines))
    )


def _shot(index: int, planned: _Plan, duration: float, company: Company, plans: list[_Plan]) -> Shot:
    said = planned.beat.reading
    lines = tuple(
        Line(character=company.speaker(who, planned.people).id, text=words)
        for who, words in (said.lines if planned.speaks else ())
    )
    transition = planned.transition if index or planned.transition.type == "fade" else Transition()
    limit = duration if not index else min(duration, 60.0)
    if transition.duration > limit / 2:
        transition = Transition()
    return Shot(
        id=f"s{index + 1}",
        duration=duration,
        location=planned.place or None,
        characters=_positions(planned),
        scale=planned.setup.scale,
        angle=planned.setup.angle,
        camera=planned.setup.camera,
        action=planned.reading.action_text or _scenery(planned),
        narration=said.narration if planned.speaks else "",
        dialogue=lines,
        sound=said.sound if planned.speaks else "",
        transition=transition,
        continue_from=f"s{index}" if planned.continues else None,
    )


def _scenery(planned: _Plan) -> str:
    """A shot of speech alone, or of nothing but film words, still shows somebody or some place."""
    if planned.people:
        return planned.people[0].look
    return planned.beat.reading.place_words or planned.reading.text


def _positions(planned: _Plan) -> tuple[Cast, ...]:
    """Two people stand left and right and face each other; one who travels goes the way the text says, else right."""
    reading, people = planned.reading, planned.people
    if len(people) == 1:
        facing = {"left": "left", "right": "right", "toward": "camera", "away": "away"}.get(
            reading.direction, ""
        )
        travels = lexicon.first({"t": r"."}, reading.action) and reading.action in _TRAVELLING
        return (Cast.model_validate({"id": people[0].id, "facing": facing or ("right" if travels else "")}),)
    order = list(people)
    if reading.relation == "right_of":
        order = [*order[1:], order[0]]
    cast = {}
    chase = reading.interaction in ("chase", "follow", "run_away_from")
    for i, role in enumerate(order[:3]):
        position = ("left", "right")[i] if len(order) == 2 else ("left", "centre", "right")[i]
        facing = (
            reading.direction
            if reading.direction in ("left", "right")
            else "right"
            if chase
            else ("right", "left")[min(i, 1)]
        )
        cast[role.id] = {"id": role.id, "position": position, "facing": facing}
    return tuple(
        Cast.model_validate(cast.get(role.id, {"id": role.id, "position": "background"})) for role in people
    )


_TRAVELLING = frozenset(
    {
        "walk",
        "run",
        "hop",
        "roll",
        "drive",
        "ride",
        "fly",
        "swim",
        "sail",
        "crawl",
        "slide",
        "slither",
        "enter",
        "exit",
    }
)
