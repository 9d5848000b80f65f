"""What is said aloud: lines of dialogue and narration, taken out of a text so that the rest can be filmed."""

from __future__ import annotations

import re
from dataclasses import dataclass

_QUOTE = re.compile(r"[\"“「『]([^\"”」』]{1,400})[\"”」』]")
_SAY_EN = r"(?:says?|said|asks?|asked|shouts?|shouted|whispers?|whispered|replies|replied|answers?|cries|calls?|mutters?|sings?|adds|exclaims?|yells?)"
_SAY_ZH = r"(?:说道?|问道?|喊道?|答道?|回答|低声说|小声说|大喊|叫道?|唱道?|自言自语)"
_BEFORE = re.compile(rf"(?P<who>[^\s,.;:，。；：！？\"“”](?:[^,.;:，。；：！？\"“”]{{0,30}}?[^\s])?)?\s*(?P<say>\b{_SAY_EN}|{_SAY_ZH})?(?:着|了)?\s*[,:，：]\s*$", re.IGNORECASE)  # fmt: skip
_AFTER = re.compile(rf"^\s*,?\s*(?:{_SAY_EN} (?P<late>[\w' ]{{1,24}})|(?P<who>[\w' ]{{1,24}}?) {_SAY_EN}\b|(?P<zh>[\u4e00-\u9fff]{{1,8}}?){_SAY_ZH})", re.IGNORECASE)  # fmt: skip
_NARRATOR = re.compile(
    r"\b(?:narrator|narration|voice[- ]?over|v\.?o\.?)\b|旁白|画外音|解说词?", re.IGNORECASE
)
_NARRATION = re.compile(
    r"(?:\b(?:narrator|narration|voice[- ]?over|v\.?o\.?)(?: says)?|旁白|画外音|解说词?)\s*(?:\([^)]*\))?\s*[:：]\s*"
    r"(?:[\"“「]([^\"”」]+)[\"”」]|([^\n]+?(?:[.!?。！？]+(?=\s|$|[^\x00-\x7f])|(?=\n|$))))",
    re.IGNORECASE,
)
_SCRIPT_LINE = re.compile(r"^\s*([A-Z][A-Z]+(?: [A-Z]+)?)\s*(?:\([^)]*\))?\s*:\s*([^\n]+)$", re.MULTILINE)
_SOUND = re.compile(
    r"(?:^|(?<=[\n.;。；]))\s*(?:sound|sfx|audio|music|音效|声音|音乐|配乐)\s*[:：]\s*([^\n.。]+)[.。]?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Speech:
    """`rest` is the text without what is said; `lines` are (speaker as said or "", words)."""

    rest: str
    lines: tuple[tuple[str, str], ...] = ()
    narration: str = ""
    sound: str = ""


def speech(text: str, language: str) -> Speech:
    """Take dialogue, narration and sound notes out of a text. Quoted words nobody says (a sign) stay."""
    spoken: list[tuple[str, str]] = []
    told: list[str] = []
    heard: list[str] = []

    def tell(match: re.Match[str]) -> str:
        told.append((match[1] or match[2]).strip())
        return " "

    def hear(match: re.Match[str]) -> str:
        heard.append(match[1].strip())
        return " "

    rest = _SOUND.sub(hear, _NARRATION.sub(tell, text))

    def script(match: re.Match[str]) -> str:
        spoken.append((match[1].title(), match[2].strip(' "“”')))
        return " "

    rest = _SCRIPT_LINE.sub(script, rest)
    at = 0
    while quote := _QUOTE.search(rest, at):
        before, after = _BEFORE.search(rest[: quote.start()]), _AFTER.match(rest[quote.end() :])
        if before and _NARRATOR.search(before[0]):
            told.append(quote[1].strip())
            rest = rest[: before.start()] + rest[quote.end() :]
            at = before.start()
        elif before and (before["say"] or (before["who"] and len(before["who"].split()) <= 3)):
            who = (before["who"] or "").strip()
            spoken.append((who, quote[1].strip()))
            speaks = f" {who} {'speaks' if language == 'en' else '说话'} " if before["say"] else " "
            ends = quote[1].rstrip().endswith((".", "!", "?", "。", "！", "？"))
            speaks = speaks.rstrip() + (". " if ends and speaks.strip() else " ")
            speaks = speaks if language == "en" else speaks.replace(" ", "").replace(".", "。")
            rest = rest[: before.start()] + speaks + rest[quote.end() :]
            at = before.start() + len(speaks)
        elif after and (after["late"] or after["who"] or after["zh"]):
            who = (after["late"] or after["who"] or after["zh"]).strip()
            spoken.append((who, quote[1].strip()))
            speaks = f"{who} speaks" if language == "en" else f"{who}说话"
            rest = rest[: quote.start()] + speaks + rest[quote.end() + after.end() :]
            at = quote.start() + len(speaks)
        else:
            at = quote.end()
    return Speech(_tidy(rest, language), tuple(spoken), " ".join(told), ", ".join(heard))


def _tidy(text: str, language: str) -> str:
    text = re.sub(r"[ \t]+", " ", text).strip()
    if language == "zh":
        return re.sub(r"^[，。；：\s]+|(?<=[，。；])[，。；\s]+", "", text)
    return re.sub(r"\s+([,.;:!?])", r"\1", re.sub(r"^[,.;:\s]+", "", text))
