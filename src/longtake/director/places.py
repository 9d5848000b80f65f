"""Where, when and in what weather: keywords beyond the exact phrases of the captions, and unnamed places.

Keys are grammar.json's places, times and weathers; "" where a text says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from longtake.director.lexicon import TIMES, WEATHERS, first, pattern
from longtake.director.vocabulary import hits
from longtake.world.concepts import concept, grammar

PLACES: dict[str, str] = {
    "neon_street": r"\bneon\b.{0,20}\b(?:street|city|alley|signs?|lights?)\b|\b(?:tokyo|city|downtown|shibuya)\b.{0,12}\b(?:streets?|alley)\b"
    r"|\btokyo\b|(?:东京)?的?霓虹(?:街头|街道|街上)?|东京(?:街头|街道)?|街头|闹市|城市街道|都市",
    "snowy_field": r"\bsnow(?:y|-covered|-clad)? (?:field|plain|landscape|hill|ground|bank)s?\b|\b(?:in|through|across|out of|over|on) the"
    r" (?:deep |fresh |white )?snow\b|雪地|雪原|雪里|雪中|雪堆",
    "pine_forest": r"\b(?:forest|woods?|woodland|jungle|pines?)\b|森林|树林|松林|林间|丛林|竹林",
    "beach": r"\b(?:beach|seaside|seashore|coast|shoreline)\b|\b(?:by|on|across|at) the (?:sea|ocean)\b|海上|海面|大海|沙滩|海滩|海边|海岸",
    "desert": r"\b(?:desert|dunes?|sahara)\b|沙漠|沙丘|戈壁|大漠",
    "mountain": r"\b(?:mountains?|mountainside|summit|peaks?|cliffs?|ridge)\b|山顶|高山|雪山|山坡|悬崖|山间",
    "lake_shore": r"\b(?:lake|pond|river|riverbank|lakeside|stream)\b|湖边|湖畔|湖面|河边|池塘|江边",
    "undersea": r"\b(?:underwater|undersea|under the sea|ocean floor|coral reef|seabed)\b|海底|水下|深海|珊瑚",
    "moon": r"\bon the moon\b|\blunar surface\b|月球",
    "outer_space": r"\b(?:outer )?space\b(?!ship)|\bgalaxy\b|\bamong the stars\b|太空|宇宙|星际",
    "bedroom": r"\b(?:bedroom|in bed|on the bed)\b|卧室|床上|房间里",
    "kitchen": r"\b(?:kitchen|bakery|restaurant)\b|厨房|餐厅|面包店",
    "living_room": r"\b(?:living room|sofa|couch|fireplace|at home|lounge|caf[eé]|coffee shop|indoors?)\b|客厅|沙发|壁炉|家里|咖啡馆|茶馆",
    "classroom": r"\b(?:classroom|school|library|office|study|laborator(?:y|ies)|lab)\b|教室|学校|图书馆|办公室|书房|实验室",
    "stage": r"\b(?:on stage|theatre|theater|concert hall|circus)\b|舞台|剧院|剧场|马戏",
    "warehouse": r"\b(?:warehouse|factory|garage|workshop|hangar|subway|metro|station)\b|仓库|工厂|车库|车间|地铁|车站",
    "castle_courtyard": r"\b(?:castle|palace|fortress|courtyard|temple|ruins)\b|城堡|宫殿|庭院|寺庙|古城",
    "farm": r"\b(?:farm|barn|fields? of wheat|wheat field|cornfield)\b|农场|麦田|稻田|田野|田间",
    "market": r"\b(?:market|bazaar|marketplace|fair)\b|集市|市场|夜市|菜市",
    "rooftop": r"\b(?:rooftop|roof|skyscraper|balcony)\b|屋顶|天台|楼顶|阳台",
    "garden": r"\b(?:garden|backyard|yard|greenhouse)\b|花园|院子|后院|花丛",
    "park": r"\b(?:park(?! (?:the|a|his|her))|playground)\b|公园|游乐场|操场",
    "football_pitch": r"\b(?:football|soccer) (?:pitch|field)\b|\bstadium\b|足球场|球场|体育场",
    "village_street": r"\b(?:village|town|streets?|road|lane|alley|sidewalk|bridge|square|harbou?r|pier)\b|村庄|小镇|街道|小路|街上|马路|巷|桥|广场|码头|路上",
    "meadow": r"\b(?:meadow|grass(?:y|land)?|lawn|field|hills?|prairie|countryside)\b|草地|草原|草坪|原野|山野|草丛",
}  # fmt: skip
_LOOSE_EN = re.compile(
    r"\b(?:in|on|at|inside|through|along|across|by|under|near|beside|aboard|down|outside|within|among|between|past|over|into)\s+"
    r"(?:a|an|the|his|her|their|its)\s+(?:[\w'-]+\s+){0,3}?[\w'-]+(?=\s+(?:at|in|on|under|with|as|while|and|when|during|near|by|to|for"
    r"|surrounded|filled|full|lit)\b|\s*[.,;:!?]|\s*$)",
    re.IGNORECASE,
)
_LOOSE_ZH = re.compile(r"(?:在|从|到|沿着|穿过)([^，。；：、！？在]{1,14}?(?:上|里|中|下|旁|边|前|内|间|外))")
_MOVING_EN = re.compile(r"^(?:over|past|into|between)\b", re.IGNORECASE)


def place_of(text: str, language: str) -> tuple[str, str]:
    """(key, words as said) of the place a text names; the words keep their preposition in English.

    A place outside the tables has key "" and words only. Both are "" when no place is named.
    """
    for start, end, slot, key in hits(text, language):
        if slot == "places":
            return key, _said(text, start, end, language)
    key = first(PLACES, text)
    if key:
        match = pattern(PLACES[key]).search(text)
        assert match
        return key, _said(text, match.start(), match.end(), language)
    loose = (_LOOSE_EN if language == "en" else _LOOSE_ZH).search(text)
    if not loose:
        return "", ""
    words = loose[0] if language == "en" else loose[1]
    return "", "" if _not_a_place(words) else words


def time_of(text: str) -> str:
    return first(TIMES, text)


def weather_of(text: str) -> str:
    return first(WEATHERS, text)


def usual_place(codes: Sequence[str], vocabulary: Mapping[str, Sequence[str]]) -> str:
    """The place of the vocabulary that suits the first of these things best, "" when it has none."""
    known = vocabulary.get("places", ())
    if not known:
        return ""
    thing = concept(codes[0]) if codes and codes[0] else None
    homes = thing.habitat if thing else ("ground",)

    def fit(key: str) -> tuple[int, bool]:
        """What a thing's first habitat is counts most; a meadow suits everybody."""
        place = grammar()["places"][key]["habitat"]
        return next((len(homes) - i for i, home in enumerate(homes) if home in place), 0), key == "meadow"

    return max(known, key=fit)


def usual_time(place: str, vocabulary: Mapping[str, Sequence[str]]) -> str:
    """Noon, or where a place has no noon the last time that it has; "" for a vocabulary without times."""
    possible = grammar()["places"][place]["times"] if place else ("noon",)
    known = [time for time in vocabulary.get("times", ()) if time in possible]
    return "noon" if "noon" in known else known[-1] if known else ""


def usual_weather(place: str, vocabulary: Mapping[str, Sequence[str]]) -> str:
    """Clear, out of doors."""
    outdoors = place and not grammar()["places"][place]["indoor"]
    return "clear" if outdoors and "clear" in vocabulary.get("weathers", ()) else ""


def _not_a_place(words: str) -> bool:
    """What only looks like one: a time, a direction, a part of the picture, or a thing passed over."""
    if first(TIMES, words) or _MOVING_EN.search(words):
        return True
    return bool(
        re.search(
            r"\b(?:left|right|middle|centre|center|background|foreground|distance|camera|air|front|side|top|end|beginning|rain"
            r"|wind|snow|sun|moment|time|while|frame|head|nose|face|hands?|arms?|mouth|dress|coat|hat|suit|jacket|raincoat)\b"
            r"|画面|镜头|左|右|远处|空中|天上|身上|头上|手上|手里|手中|怀里|嘴里|鼻子|脸上|雨中|风中",
            words,
            re.IGNORECASE,
        )
    )


def _said(text: str, start: int, end: int, language: str) -> str:
    """The whole phrase around a place word: preposition, article and adjectives."""
    if language == "en":
        if re.match(r"(?:in|on|at|by|among|under|inside|along|out|deep)\b", text[start:end], re.IGNORECASE):
            return text[start:end]
        before = re.search(
            r"(?:\b(?:at|on|in|from|to) the (?:edge|end|middle|top|foot|side|bank|corner|heart) of\s+|\b(?:in|on|at|inside|through|along|across|by|under|near|over|down|deep in|among|to|into|onto|around|outside|of)\s+)?"
            r"(?:\b(?:a|an|the|his|her|their)\s+)?(?:(?!(?:in|on|at|a|an|the|through|along|across|by|with|and|of|to|is|are|into|onto|over|from|under|near|inside|out|around)\b)[\w'-]+\s+){0,3}$",
            text[:start],
            re.IGNORECASE,
        )
        words = (before[0] if before else "") + text[start:end]
        found = re.search(  # the last of several: "by the wind in a meadow"
            r"(?:^|.*\s)((?:in|on|at|inside|through|along|across|by|under|near|over|down|deep in|among|around|outside)\s.*)$",
            words,
            re.IGNORECASE | re.DOTALL,
        )
        if found:
            words = found[1]
        elif not re.match(r"(?:a|an|the)\b", words, re.IGNORECASE):
            words = text[start:end]
        words = re.sub(r"^(?:to|into|onto|of)\s+", "in ", words, flags=re.IGNORECASE)
        return re.sub(r"\s+", " ", words).strip()
    before = re.search(r"[^，。；：、！？\s在从到着过往向的有]{0,8}的?$", text[:start])
    lead = before[0] if before and re.search(r"(?:在|从|到|沿着|穿过|来到)$", text[: before.start()]) else ""
    after = re.match(
        r"[^，。；：、！？\s走跑站坐躺跳]{0,2}?(?:上|里|中|下|旁|边|前|间|之上|之间|中间)", text[end:]
    )
    return lead + text[start:end] + (after[0] if after else "")
