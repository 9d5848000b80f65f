"""A prompt cut into beats: an explicit script at its headings, a story at its clauses.

Explicit scripts: "Shot 1: ...", "[0-4s] ...", "1. ...", "cut to", 镜头一：..., 切到. A story is cut where time goes on
(then, suddenly, 然后, 突然) and at sentences that show something new; camera and style sentences stay with their beat.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from longtake.director import lexicon
from longtake.director.reading import Reading, read
from longtake.director.verbs import ACTIONS, INTERACTIONS
from longtake.storyboard import Transition

_N = r"(?:\d{1,3}|[一二三四五六七八九十]{1,3}|one|two|three|four|five|six|seven|eight|nine|ten)"
_HEAD = re.compile(
    rf"(?:^|(?<=[\s.。;；!！?？”\"]))(?:[*#>\-\s]*)(?:(?:shot|scene|clip|panel)\s*#?{_N}\b\s*(?:\(([^)]*)\))?\s*[:：.,\-–—]"
    rf"|第?{_N}(?:个|号)?(?:镜头|分镜|场景|画面|幕|镜)\s*(?:[（(]([^）)]*)[）)])?\s*[:：，、.]|(?:镜头|分镜|场景|画面|镜号)\s*{_N}\s*(?:[（(]([^）)]*)[）)])?\s*[:：，、.]"
    rf"|(?:镜头|分镜|场景){_N}\s)",
    re.IGNORECASE,
)
_CLOCK = r"(?:\d{1,2}:)?\d{1,3}(?:[.:]\d{1,2})?"
_CODE = re.compile(
    rf"(?:^|(?<=[\s.。;；!！?？，,”\"]))[\[（(【]?\s*(?:from |第)?({_CLOCK})\s*(?:s|sec|seconds?|秒)?\s*(?:-|–|—|~|to|到|至)\s*(?:第)?({_CLOCK})\s*(s\b|sec\b|seconds?\b|秒)?"
    r"\s*([\]）)】])?\s*[:：,，\-–]?\s*",
    re.IGNORECASE,
)
_ITEM = re.compile(r"^\s*(?:\d{1,2}[.)、]|[-*•])\s+", re.MULTILINE)
_LASTS = re.compile(r"[\[(（]\s*(?:lasts? |约)?(\d+(?:\.\d+)?)\s*(?:s|sec|seconds?|秒)(?:钟)?\s*[\])）]|\b(?:for|lasts?|lasting) (\d+(?:\.\d+)?) seconds?\b|(?:持续|时长|历时)(\d+(?:\.\d+)?)秒", re.IGNORECASE)  # fmt: skip
_BARE_LASTS = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(?:s|sec|seconds?|秒)?\s*$", re.IGNORECASE)
_HEADER = re.compile(r"(?:^|\n)\s*(?:\*\*)?(style|look|visual style|风格|画风|title|标题|片名|characters?|cast|角色|人物)(?:\*\*)?\s*[:：]\s*([^\n]+)", re.IGNORECASE)  # fmt: skip
_NOISE = re.compile(
    r"^\s*(?:storyboard|a short film(?: in \w+ shots)?|\w+ shots|script|分镜脚本?|故事板|短片|共?.{1,2}个镜头)\s*[:：,，.。]\s*",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    r"(?<=[.!?;])\s+(?=[A-Z\"“'\[(]|\w)|(?<=[.!?][\"”])\s+(?=[A-Z\"“])|(?<=[。！？；])(?!”)|(?<=[。！？]”)|\n+"
)
_THEN = re.compile(
    r",?\s+(?:and\s+)?(?=(?:then|after that|afterwards|next(?! to\b)|a moment later|moments later|later|finally|in the end|at last|suddenly"
    r"|all of a sudden|just then|meanwhile|at the same time|eventually)\b,?\s)"
    r"|[，,]?(?=(?:然后|接着|随后|之后|过了一会儿|紧接着|突然|忽然|就在这时|这时|与此同时|最后|最终|到最后|后来|终于))",
    re.IGNORECASE,
)
_THEN_WORD = re.compile(
    r"^\W*(?:and\s+)?(?:then|after that|afterwards|next(?! to\b)|a moment later|moments later|later|finally|in the end|at last|suddenly|all of a sudden"
    r"|just then|meanwhile|at the same time|eventually|然后|接着|随后|之后|过了一会儿|紧接着|就在这时|这时|与此同时|最后|最终|到最后|后来|终于),?，?\s*",
    re.IGNORECASE,
)
_AND_VERB = re.compile(r",?\s+and\s+(?=(?:it|she|he|they|the|a|an|[a-z]+s)\s)", re.IGNORECASE)


_OWN_SUBJECT = re.compile(
    r"\W*(?:(?:a|an|the|one|two|three|four|another|some|it|she|he|they|both|everyone)\b|[她他它]|[A-Z][a-z])"
)
_CUT = Transition()


@dataclass(frozen=True)
class Beat:
    """One thing to be filmed. Times are seconds, None where the script does not say."""

    reading: Reading
    start: float | None = None
    end: float | None = None
    lasts: float | None = None
    transition: Transition = _CUT
    named_cut: bool = False
    """The script itself asks for a new shot here."""

    @property
    def duration(self) -> float | None:
        if self.start is not None and self.end is not None:
            return self.end - self.start
        return self.lasts


@dataclass(frozen=True)
class Script:
    beats: tuple[Beat, ...]
    explicit: bool
    """Its shots are the writer's: none is added, merged or dropped."""
    one_take: bool = False
    title: str = ""
    style: str = ""
    cast: str = ""
    """The line that introduces the characters."""


def parse(prompt: str, language: str) -> Script:
    """Cut a prompt into beats; there is always at least one."""
    header: dict[str, str] = {}

    def keep(match: re.Match[str]) -> str:
        key = match[1].lower()
        kind = (
            "style"
            if key in ("style", "look", "visual style", "风格", "画风")
            else "title"
            if key in ("title", "标题", "片名")
            else "cast"
        )
        header[kind] = match[2].strip(" *")
        return "\n"

    text = _NOISE.sub("", _HEADER.sub(keep, prompt).strip())
    one_take = bool(lexicon.pattern(lexicon.ONE_TAKE).search(text))
    text = lexicon.pattern(
        rf"(?:in |as |filmed in |shot in |shot as |filmed as )?(?:a |an |one )?(?:{lexicon.ONE_TAKE})(?:\s+(?:of|showing|with)\b)?"
    ).sub(" ", text)
    text = re.sub(r"^[\s,，:：.。;；]+", "", text)
    pieces, explicit = _explicit(text)
    beats: list[Beat] = []
    for piece in pieces:
        split = _cuts(piece, language)
        explicit = explicit or len(split) > 1
        beats += split
    if not explicit:
        beats = [part for beat in beats for part in _story(beat, language)]
    beats = _merged([b for b in beats if b.reading.text], explicit)
    return Script(
        tuple(beats),
        explicit,
        one_take,
        header.get("title", ""),
        header.get("style", ""),
        header.get("cast", ""),
    )


# ---- explicit scripts -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Piece:
    text: str
    start: float | None = None
    end: float | None = None
    lasts: float | None = None
    named: bool = False


def _explicit(text: str) -> tuple[list[_Piece], bool]:
    """Pieces between headings or time codes; whatever stands before the first is its lead-in."""
    heads = list(_HEAD.finditer(text))
    codes = [m for m in _CODE.finditer(text) if m[3] or m[4] or ":" in m[1]]
    codes = [m for m in codes if _seconds(m[2]) > _seconds(m[1])]
    items = [m for m in _ITEM.finditer(text)]
    if len(heads) < 1 and len(codes) < 1 and len(items) >= 2:
        heads = items
    if heads:
        return _between(text, heads), True
    if codes:
        return _between(text, codes), True
    return [_timed(_Piece(text))], False


def _between(text: str, marks: list[re.Match[str]]) -> list[_Piece]:
    lead = text[: marks[0].start()].strip()
    pieces = []
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        body = text[mark.end() : after.start() if after else None]
        piece = _Piece(body.strip(), named=True)
        if mark.re is _CODE:
            piece = replace(piece, start=_seconds(mark[1]), end=_seconds(mark[2]))
        else:
            note = next((g for g in mark.groups() if g), "") if mark.re is _HEAD else ""
            piece = _noted(piece, note)
        pieces.append(_timed(piece))
    if lead and read(lead, "zh" if re.search(r"[\u4e00-\u9fff]", lead) else "en").acts:
        pieces.insert(0, _timed(_Piece(lead, named=True)))
    elif lead:
        pieces[0] = replace(pieces[0], text=f"{lead} {pieces[0].text}")
    return [p for p in pieces if p.text]


def _noted(piece: _Piece, note: str) -> _Piece:
    """What stands in brackets behind a heading: a duration, a time code, or film words."""
    code, lasts = _CODE.search(note), _BARE_LASTS.match(note)
    if lasts:
        return replace(piece, lasts=float(lasts[1]))
    if code and _seconds(code[2]) > _seconds(code[1]):
        return replace(piece, start=_seconds(code[1]), end=_seconds(code[2]))
    return replace(piece, text=f"{note}, {piece.text}") if note else piece


def _timed(piece: _Piece) -> _Piece:
    """Take a time code or a duration out of the text of a piece."""
    code = _CODE.match(piece.text)
    if code and (code[3] or code[4]) and piece.start is None and _seconds(code[2]) > _seconds(code[1]):
        piece = replace(piece, text=piece.text[code.end() :], start=_seconds(code[1]), end=_seconds(code[2]))
    lasts = _LASTS.search(piece.text)
    if lasts and piece.lasts is None:
        piece = replace(
            piece,
            text=_LASTS.sub("", piece.text, count=1).strip(),
            lasts=float(lasts[1] or lasts[2] or lasts[3]),
        )
    return piece


def _seconds(clock: str) -> float:
    """ "0:04" -> 4, "1:02.5" -> 62.5, "4.5" -> 4.5"""
    *minutes, last = clock.split(":")
    return float(last) + sum(float(m) * 60.0 ** (i + 1) for i, m in enumerate(reversed(minutes)))


def _cuts(piece: _Piece, language: str) -> list[Beat]:
    """Split at named transitions ("cut to", 叠化到); the transition leads into what follows it."""
    found = [
        f for f in lexicon.spans(lexicon.TRANSITIONS, piece.text) if not _inside_quotes(piece.text, f[0])
    ]
    bounds = [(0, 0, ""), *found, (len(piece.text), len(piece.text), "")]
    beats: list[Beat] = []
    kind = ""
    for (_, end, this), (start, _, _) in pairwise(bounds):
        kind = this or kind
        body = re.sub(
            r"^(?:\s*[,，:：.。;；]|\s*(?:a|an|the)\s+(?=scene where))+", "", piece.text[end:start]
        ).strip()
        body = re.sub(
            r"[,，]?\s*(?:(?:and|then|and then|when|before|然后|接着|最后|随后)\s*)$", "", body
        ).strip(" ,，:：")
        if not body:
            continue
        reading = read(body, language)
        if kind == "fade" and not beats and not reading.films:
            continue
        beats.append(Beat(reading, transition=_transition(kind), named_cut=bool(kind) or piece.named))
        kind = ""
    if len(beats) == 1:
        beats[0] = replace(beats[0], start=piece.start, end=piece.end, lasts=piece.lasts)
    elif beats and piece.start is not None and piece.end is not None:
        share = (piece.end - piece.start) / len(beats)
        beats = [replace(b, lasts=share) for b in beats]
    return beats


def _inside_quotes(text: str, at: int) -> bool:
    return text[:at].count("“") > text[:at].count("”") or text[:at].count('"') % 2 == 1


def _transition(kind: str) -> Transition:
    if kind in ("", "cut", "match_cut"):
        return Transition.model_validate({"type": kind or "cut"})
    return Transition.model_validate({"type": kind, "duration": 0.5})


# ---- stories --------------------------------------------------------------------------------------


def _story(beat: Beat, language: str) -> list[Beat]:
    """A beat of running text cut into the events it tells."""
    pieces: list[str] = []
    for sentence in _SENTENCE.split(beat.reading.text):
        pieces += [p for p in _THEN.split(sentence) if p and p.strip()]
    pieces = _closed_quotes(pieces)
    pieces = [part for piece in pieces for part in _new_subject(piece, language)]
    pieces = [part for piece in pieces for part in _new_place(piece, language)]
    return [
        replace(beat, reading=read(_THEN_WORD.sub("", p).strip() or p.strip(), language))
        for p in pieces
        if p.strip()
    ]


def _closed_quotes(pieces: list[str]) -> list[str]:
    """Join what a full stop inside quotation marks has torn apart."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1].count('"') % 2 or joined[-1].count("“") > joined[-1].count("”")):
            joined[-1] += " " + piece
        else:
            joined.append(piece)
    return joined


def _new_subject(piece: str, language: str) -> list[str]:
    """Cut ", and the cat ..." and ，小猫… where both halves have somebody and something they do."""
    marks = re.compile(r",\s+(?:and|but|while)\s+(?=(?:a|an|the|another)\s)|;\s+|\s+while\s+(?=(?:a|an|the|another)\s)" if language == "en" else r"[，；](?=(?:一|另一|这|那|两|几)[\u4e00-\u9fff]|.{1,8}(?:追|跑|走|跳|飞|看))", re.IGNORECASE)  # fmt: skip
    parts = marks.split(piece)
    if len(parts) < 2:
        return [piece]
    out: list[str] = []
    lead, acted = "", False  # who the last piece names first, and whether anything is done in it
    for part in parts:
        here = read(part, language)
        who = here.mentions[0].noun if here.mentions else ""
        acts = bool(here.action or here.interaction)
        changed = acted and acts and bool(lead and who) and lead != who
        if not out or (changed and not _inside_quotes(piece, piece.find(part))):
            out.append(part)
            lead, acted = who, acts
        else:
            out[-1] += ("，" if language == "zh" else ", ") + part
            lead = lead or next(
                (m.noun for m in here.mentions if m.code), ""
            )  # the unknown lead only at its head
            acted = acted or acts
    return out


_CLAUSES = {"en": re.compile(r",\s+(?:and\s+)?|\s+and\s+", re.IGNORECASE), "zh": re.compile(r"[，；]")}


def _new_place(piece: str, language: str) -> list[str]:
    """Cut "walks in the snow, meets a cat in a forest and they sit on a beach" where a clause acts somewhere else.

    A clause that leaves its subject out is given the one before it.
    """
    out: list[str] = []
    was: Reading | None = (
        None  # of the last piece; kept while clauses add nothing, for reading it again costs its length
    )
    joints = [(0, 0), *(mark.span() for mark in _CLAUSES[language].finditer(piece)), (len(piece), 0)]
    for (start, end), (stop, _) in pairwise(joints):
        part = piece[end:stop]
        here = read(part, language)
        if out and was is None and _acts_somewhere(here):
            was = read(out[-1], language)
        if not out:
            out.append(part)
        elif was and _moved(was, here) and not _inside_quotes(piece, end):
            out.append(_with_subject(part, here, was))
            was = None
        else:
            out[-1] += piece[start:end] + part
            was = was if was and _adds_nothing(was, here) else None
    return out


def _acts_somewhere(reading: Reading) -> bool:
    return bool(reading.place_words and (reading.action or reading.interaction))


def _moved(was: Reading, here: Reading) -> bool:
    """Whether both act, and here it is in another place or at another time."""
    if not (_acts_somewhere(was) and _acts_somewhere(here)):
        return False
    there = (was.place or was.place_words, was.time)
    return (here.place or here.place_words, here.time or was.time) != there


def _adds_nothing(was: Reading, here: Reading) -> bool:
    """Whether a text that acts somewhere says no other place, time or first subject with this clause behind it."""
    placed = not here.place_words or bool(here.place and here.place == was.place)
    led = bool(was.mentions) or not here.mentions
    return _acts_somewhere(was) and placed and here.time in ("", was.time) and led


def _with_subject(part: str, here: Reading, before: Reading) -> str:
    """The clause with who acts in it at its head: "meets a cat" after "A penguin walks" is "The penguin meets a cat"."""
    if not before.mentions or _OWN_SUBJECT.match(part):
        return part
    who = before.mentions[0].noun
    if here.language == "en":
        return f"The {who} {part}"
    acts = min((s for s, _, _ in lexicon.spans(ACTIONS | INTERACTIONS, part)), default=len(part))
    return part if any(m.start < acts for m in here.mentions) else who + part


def _merged(beats: list[Beat], explicit: bool) -> list[Beat]:
    """Join beats that show nothing of their own (a camera sentence, a mood, a line of speech) to their neighbour."""
    groups: list[list[Beat]] = []
    for beat in beats:
        shows = _shows(beat.reading) or bool(beat.reading.scale)
        alone = not groups or beat.named_cut
        if not alone and shows:
            before = groups[-1]
            alone = explicit or before[0].named_cut or any(_shows(b.reading) for b in before)
        if alone:
            groups.append([beat])
        else:
            groups[-1].append(beat)
    return [_join(*group) for group in groups]


def _shows(reading: Reading) -> bool:
    somebody = any(m.code for m in reading.mentions)
    return bool(somebody or reading.action or reading.interaction or reading.place_words)


def _join(first: Beat, *more: Beat) -> Beat:
    """One beat of several: the first with all their words, which are read once."""
    if not more:
        return first
    chinese = first.reading.language == "zh"
    gap, stop = ("", "。") if chinese else (" ", ".")
    text = first.reading.text
    for beat in more:
        if text and text[-1] not in '.!?。！？,，:：;；”"':
            text += stop
        text += gap + beat.reading.text
    return replace(first, reading=read(text, first.reading.language))
