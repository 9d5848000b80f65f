"""What is wrong with a board, and how it is put right: every repair is named, nothing is changed silently.

A Storyboard is always valid in itself (its shots' people and places exist); this looks at whether it is a good film.
`lint` finds, `repair` mends what can be mended and leaves locked shots alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from longtake.director.notes import listed, note, term
from longtake.director.reading import read
from longtake.director.setups import LADDER
from longtake.director.timing import LONGEST, SHORTEST, share_out, speaking_seconds
from longtake.errors import LongtakeError
from longtake.storyboard import Cast, Shot, Storyboard, build_storyboard


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: the rule, the shot ("" for the board), and a line for the user."""

    rule: str
    shot: str
    message: str

    def __str__(self) -> str:
        return f"{self.shot}: {self.message}" if self.shot else self.message


def lint(board: Storyboard, seconds: float | None = None) -> tuple[Finding, ...]:
    """Everything that is wrong with a board; with `seconds`, whether it is that long too."""
    found: list[Finding] = []
    if seconds is not None and abs(board.seconds - seconds) > 0.5 / board.fps:
        words = note("length", board.language, sum=board.seconds, seconds=seconds)
        found.append(Finding("length", "", words))
    before: Shot | None = None
    for shot in board.shots:
        for rule in (_lasts, _speaks, _moves, _shows):
            found += rule(shot, board)
        if before is not None:
            for across in (_repeats, _crosses, _goes_on):
                found += across(before, shot, board.language)
        before = shot
    return tuple(found)


def repair(board: Storyboard, seconds: float | None = None) -> tuple[Storyboard, tuple[str, ...]]:
    """A board without what can be mended, and one note for each repair. Locked shots stay as they are."""
    values = board.model_dump()
    notes: list[str] = []
    mend: dict[str, Callable[[dict[str, Any], dict[str, Any] | None, Shot, str], str]] = {
        "repeat": _other_setup, "axis": _same_sides, "facing": _same_way, "moves": _one_move, "empty": _something,
        "place": _same_place,
    }  # fmt: skip
    current = board
    for _ in range(3):  # mending one thing may uncover another
        findings = [f for f in lint(current, seconds) if f.rule in mend and not current.shot(f.shot).locked]
        if not findings:
            break
        for finding in findings:
            index = next(i for i, s in enumerate(current.shots) if s.id == finding.shot)
            said = mend[finding.rule](
                values["shots"][index],
                values["shots"][index - 1] if index else None,
                current.shots[index],
                board.language,
            )
            if said:
                notes.append(f"{finding.shot}: {said}")
            current = build_storyboard(values)
    timed, changes = _fitted(current, seconds)
    return timed, (*dict.fromkeys(notes), *changes)


# ---- rules ----------------------------------------------------------------------------------------


def _lasts(shot: Shot, board: Storyboard) -> list[Finding]:
    if SHORTEST <= shot.duration <= LONGEST + 1e-6 or board.seconds < SHORTEST:
        return []
    words = note("duration", board.language, seconds=shot.duration, shortest=SHORTEST, longest=LONGEST)
    return [Finding("duration", shot.id, words)]


def _speaks(shot: Shot, board: Storyboard) -> list[Finding]:
    needed = spoken_seconds(shot)
    if needed <= shot.duration + 0.31:
        return []
    words = note("speech", board.language, needed=needed, seconds=shot.duration)
    return [Finding("speech", shot.id, words)]


def _moves(shot: Shot, board: Storyboard) -> list[Finding]:
    language = "zh" if board.language.startswith("zh") else "en"
    named = [term(m, language) for m in read(shot.action, language).moves if m != shot.camera.move]
    if not named:
        return []
    words = note("moves", language, move=term(shot.camera.move, language), named=listed(named, language))
    return [Finding("moves", shot.id, words)]


def _shows(shot: Shot, board: Storyboard) -> list[Finding]:
    if shot.action or shot.characters or shot.location:
        return []
    return [Finding("empty", shot.id, note("empty", board.language))]


def _repeats(before: Shot, shot: Shot, language: str) -> list[Finding]:
    if (
        shot.continue_from
        or (before.scale, before.angle) != (shot.scale, shot.angle)
        or shot.transition.type == "match_cut"
    ):
        return []
    setup = {"scale": term(shot.scale, language), "angle": term(shot.angle, language)}
    return [Finding("repeat", shot.id, note("repeat", language, before=before.id, **setup))]


def _crosses(before: Shot, shot: Shot, language: str) -> list[Finding]:
    """The 180-degree rule: who stood left stays left, who went right goes on to the right."""
    if before.location != shot.location or shot.transition.type not in ("cut", "match_cut"):
        return []
    was, now = _sides(before), _sides(shot)
    both = [c for c in now if c in was]
    if len(both) >= 2 and any(was[a] != now[a] and was[b] != now[b] for a in both for b in both if a < b):
        who = ("、" if language.startswith("zh") else " and ").join(both)
        return [Finding("axis", shot.id, note("axis", language, who=who, before=before.id))]
    facing = {c.id: c.facing for c in before.characters if c.facing in ("left", "right")}
    for cast in shot.characters:
        turned = cast.facing in ("left", "right") and facing.get(cast.id, cast.facing) != cast.facing
        if turned and len(shot.characters) == len(before.characters) == 1 and not _turns(shot):
            ways = {"now": term(cast.facing, language), "was": term(facing[cast.id], language)}
            words = note("facing", language, who=cast.id, before=before.id, **ways)
            return [Finding("facing", shot.id, words)]
    return []


def _goes_on(before: Shot, shot: Shot, language: str) -> list[Finding]:
    if shot.continue_from != before.id or shot.location == before.location:
        return []
    words = note("place", language, before=before.id, here=shot.location, there=before.location)
    return [Finding("place", shot.id, words)]


def _turns(shot: Shot) -> bool:
    said = read(shot.action, "zh" if any("\u4e00" <= c <= "\u9fff" for c in shot.action) else "en")
    return (
        bool(said.direction)
        or said.action in ("turn", "enter", "exit")
        or said.interaction == "run_away_from"
    )


def _sides(shot: Shot) -> dict[str, str]:
    return {c.id: c.position for c in shot.characters if c.position in ("left", "right")}


def spoken_seconds(shot: Shot) -> float:
    """How long what is said in a shot takes."""
    return math.fsum(
        speaking_seconds(text) for text in (shot.narration, *(line.text for line in shot.dialogue))
    )


# ---- repairs --------------------------------------------------------------------------------------


def _other_setup(values: dict[str, Any], before: dict[str, Any] | None, shot: Shot, language: str) -> str:
    at = LADDER.index(shot.scale)
    values["scale"] = LADDER[at + 2 if at <= 2 else at - 2]
    return note("other_scale", language, now=term(values["scale"], language), was=term(shot.scale, language))


def _same_sides(values: dict[str, Any], before: dict[str, Any] | None, shot: Shot, language: str) -> str:
    assert before is not None
    was = {c["id"]: c for c in before["characters"]}
    values["characters"] = [
        {**c, "position": was[c["id"]]["position"], "facing": was[c["id"]]["facing"] or c["facing"]}
        if c["id"] in was
        else c
        for c in values["characters"]
    ]
    return note("same_sides", language)


def _same_way(values: dict[str, Any], before: dict[str, Any] | None, shot: Shot, language: str) -> str:
    assert before is not None
    was = {c["id"]: c["facing"] for c in before["characters"]}
    values["characters"] = [
        Cast(**{**c, "facing": was.get(c["id"]) or c["facing"]}).model_dump() for c in values["characters"]
    ]
    return note("same_way", language, now=term(values["characters"][0]["facing"], language))


def _one_move(values: dict[str, Any], before: dict[str, Any] | None, shot: Shot, language: str) -> str:
    said = read(shot.action, "zh" if any("\u4e00" <= c <= "\u9fff" for c in shot.action) else "en")
    move = shot.camera.move if shot.camera.move != "static" else said.moves[0]
    values["camera"] = {**values["camera"], "move": move}
    values["action"] = said.action_text or shot.action
    return note("one_move", language, move=term(move, language))


def _something(values: dict[str, Any], before: dict[str, Any] | None, shot: Shot, language: str) -> str:
    if before is None:
        return ""
    values.update(action=before["action"], characters=before["characters"], location=before["location"])
    return note("something", language)


def _same_place(values: dict[str, Any], before: dict[str, Any] | None, shot: Shot, language: str) -> str:
    values["continue_from"] = None
    return note("begins_with_cut", language)


def _fitted(board: Storyboard, seconds: float | None) -> tuple[Storyboard, tuple[str, ...]]:
    """Durations that add up to `seconds`, with room for what is said."""
    wanted = board.seconds if seconds is None else seconds
    rules = {f.rule for f in lint(board, seconds)}
    if not rules & {"length", "speech"} and not (
        "duration" in rules and wanted >= SHORTEST * len(board.shots)
    ):
        return board, ()
    fixed = math.fsum(s.duration for s in board.shots if s.locked)
    loose = [s for s in board.shots if not s.locked]
    if not loose or wanted - fixed <= 0.5 * len(loose):
        return board, ()
    least = [min(max(SHORTEST, spoken_seconds(s)), LONGEST) for s in loose]
    durations = share_out([s.duration for s in loose], wanted - fixed, board.fps, least)
    new = dict(zip((s.id for s in loose), durations, strict=True))
    values = board.model_dump()
    for shot in values["shots"]:
        shot["duration"] = new.get(shot["id"], shot["duration"])
        if shot["transition"]["duration"] > shot["duration"] / 2:
            shot["transition"] = {"type": "cut", "duration": 0.0}
    try:
        fitted = build_storyboard(values)
    except LongtakeError:
        return board, ()
    changed = [
        f"{s.id} {s.duration:g} -> {n.duration:g}"
        for s, n in zip(board.shots, fitted.shots, strict=True)
        if s.duration != n.duration
    ]
    return fitted, (
        note("durations", board.language, changes=listed(changed, board.language)),
    ) if changed else ()
