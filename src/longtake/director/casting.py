"""Who is in the film: mentions and pronouns of every beat become characters that stay the same.

A character keeps the words it was introduced with. "the dog", 小狗 and "it" lead back to it; "another dog" does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from longtake.director.mentions import Mention, Pronoun, mentions, pronouns
from longtake.director.reading import Reading
from longtake.director.vocabulary import language_of
from longtake.storyboard import Character
from longtake.world.concepts import Concept, concept

_CAST_LINE = re.compile(
    r"^\s*([A-Z][\w' ]{0,24}?|[\u4e00-\u9fff]{1,4})\s*(?:[:：(（\-–—,，]|\bis\b|是)\s*(.{2,160}?)[)）]?\s*$"
)
_GENERIC = {
    "female": r"^(?:woman|girl|lady)$|^(?:女人|女孩|女子|姑娘)$",
    "male": r"^(?:man|boy|guy)$|^(?:男人|男孩|男子)$",
}


@dataclass
class Role:
    """A character while the cast is being gathered."""

    id: str
    look: str
    noun: str
    code: str = ""
    name: str = ""
    wardrobe: str = ""
    gender: str = ""
    count: int = 1

    @property
    def thing(self) -> Concept | None:
        return concept(self.code) if self.code else None

    @property
    def person(self) -> bool:
        thing = self.thing
        return bool(self.name) or bool(self.gender) or thing is None or thing.kind == "person"

    def as_character(self) -> Character:
        return Character(id=self.id, name=self.name or self.noun, look=self.look, wardrobe=self.wardrobe)


@dataclass
class Company:
    """The characters so far, and who was last on the screen."""

    language: str
    roles: list[Role] = field(default_factory=list)
    last: list[Role] = field(default_factory=list)

    def introduce(self, line: str) -> None:
        """The line of a script that names its characters: "Mia, a girl in a yellow raincoat; Tom: a robot"."""
        for part in re.split(r"[;；]|(?<=[^,，])\.\s+|、", line):
            match = _CAST_LINE.match(part)
            if not match:
                continue
            described = mentions(match[2], self.language)
            found = described[0] if described else None
            worn = found.wardrobe if found else ""
            look = match[2].replace(worn, "").strip(" ,，") if worn else match[2].strip()
            role = Role(
                self._next_id(),
                look,
                found.noun if found else match[1],
                found.code if found else "",
                match[1].strip(),
                worn,
            )
            role.gender = found.gender if found else ""
            self.roles.append(role)

    def cast(self, reading: Reading) -> list[Role]:
        """Everybody a beat shows, its subject first."""
        text = reading.action_text
        seen: list[tuple[int, Role]] = []
        for role in self.roles:
            if role.name and (at := _find(text, role.name)) >= 0:
                seen.append((at, role))
        people = [m for m in reading.mentions if self._plays(m, reading)]
        for mention in people:
            seen.append((mention.start, self._role(mention)))
        for pronoun in pronouns(text):
            meant = self._meant(pronoun, [role for _, role in seen])
            seen += [(pronoun.start, role) for role in {role.id: role for role in meant}.values()]
        for who, _ in reading.lines:
            seen.append((len(text), self.speaker(who, [r for _, r in seen])))
        found = [role for _, role in sorted(seen, key=lambda entry: entry[0])]
        if self.last and _no_subject(reading, min((at for at, _ in seen), default=99)):
            found.insert(0, self.last[0])
        found = list({role.id: role for role in found}.values())
        self.last = found or self.last
        return found

    def speaker(self, who: str, here: list[Role] | None = None) -> Role:
        """Who says a line: by name, noun or pronoun; somebody new is introduced."""
        low = who.strip().lower()
        for role in self.roles:
            if low and (
                role.name.lower() == low
                or _find(low, role.noun) >= 0
                or (role.name and _find(low, role.name) >= 0)
            ):
                return role
        said = pronouns(who)
        if said and (meant := self._meant(said[0], here or [])):
            return meant[0]
        found = mentions(who, self.language)
        if found:
            return self._role(found[0])
        if not low and (here or self.last):
            return (here or self.last)[0]
        role = Role(
            self._next_id(),
            who.strip() or ("somebody" if self.language == "en" else "有人"),
            who.strip() or "voice",
            name=who.strip().title(),
        )
        self.roles.append(role)
        return role

    def _plays(self, mention: Mention, reading: Reading) -> bool:
        """A thing is cast when it acts, is acted on, or comes first; the rest is furniture."""
        thing = mention.thing
        if thing is None or thing.animate or thing.kind == "vehicle":
            return True
        first = not any(m.start < mention.start for m in reading.mentions)
        return thing.kind != "furniture" and (first or bool(reading.interaction))

    def _role(self, mention: Mention) -> Role:
        known = self._known(mention)
        if known:
            if mention.wardrobe and not known.wardrobe:
                known.wardrobe = mention.wardrobe
            return known
        look = mention.phrase.strip()
        if self.language == "en":
            look = re.sub(
                r"^(?:the|this|that|his|her|its|their)\b", _article(look), look, flags=re.IGNORECASE
            )
            look = look[0].lower() + look[1:]
        role = Role(
            self._next_id(),
            look,
            mention.noun,
            mention.code,
            mention.name,
            mention.wardrobe,
            mention.gender,
            mention.count,
        )
        self.roles.append(role)
        return role

    def _known(self, mention: Mention) -> Role | None:
        if mention.other:
            return None
        for role in reversed(self.roles):
            if mention.name and role.name == mention.name:
                return role
        same = [r for r in self.roles if _same(r, mention)]
        for role in reversed(same):
            if (
                mention.definite
                or role.look.lower() == mention.phrase.lower()
                or (role.count == mention.count and not _differs(role, mention))
            ):
                return role
        if mention.definite and mention.thing and mention.thing.kind == "person":
            generic = _GENERIC.get(mention.gender, r"^$")
            if re.match(generic, mention.noun, re.IGNORECASE):
                return next((r for r in reversed(self.roles) if r.gender == mention.gender), None)
        return None

    def _meant(self, pronoun: Pronoun, here: list[Role]) -> list[Role]:
        """Whom a pronoun means: of those in the beat, else of the beat before, else of all, the fitting one."""
        if pronoun.plural:
            return next((group for group in (here, self.last) if len(group) > 1), self.roles[-2:])
        for group in (here, self.last, list(reversed(self.roles))):
            for role in group:
                if pronoun.gender and role.gender == pronoun.gender:
                    return [role]
                if not pronoun.gender and not role.person:
                    return [role]
        open_ = [
            r
            for r in (self.last or list(reversed(self.roles)))
            if not r.gender and (r.person or not pronoun.gender)
        ]
        if open_:
            return open_[:1]
        return (self.last or self.roles)[:1]

    def _next_id(self) -> str:
        return f"c{len(self.roles) + 1}"


def _same(role: Role, mention: Mention) -> bool:
    if role.code and mention.code:
        if role.code == mention.code:
            return True
        a, b = concept(role.code), concept(mention.code)
        language = language_of(mention.noun)
        return bool(a.subject and b.subject and a.subject[language] == b.subject[language])
    return role.noun.lower() == mention.noun.lower()


def _differs(role: Role, mention: Mention) -> bool:
    """Both are described, and otherwise: a black cat is not the white one."""
    said = (
        set(re.findall(r"[a-z]+", mention.phrase.lower()))
        - {"a", "an", "the", "one"}
        - set(mention.noun.lower().split())
    )
    had = (
        set(re.findall(r"[a-z]+", role.look.lower()))
        - {"a", "an", "the", "one"}
        - set(role.noun.lower().split())
    )
    if language_of(mention.phrase) == "zh":
        said, had = {mention.phrase.removesuffix(mention.noun)}, {role.look.removesuffix(role.noun)}
        return said != had and not mention.definite
    return bool(said and had and said.isdisjoint(had))


def _article(look: str) -> str:
    words = look.split()
    return "an" if len(words) > 1 and words[1][0].lower() in "aeiou" else "a"


def _find(text: str, name: str) -> int:
    if language_of(name) == "zh":
        return text.find(name)
    match = re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE)
    return match.start() if match else -1


def _no_subject(reading: Reading, first: int) -> bool:
    """A clause that begins with its verb goes on about whoever came before."""
    if not (reading.action or reading.interaction):
        return False
    if reading.language == "zh":
        return first > 1 and bool(_VERB_FIRST_ZH.match(reading.action_text))
    return first > 0 and bool(_VERB_FIRST_EN.match(reading.action_text))


_VERB_FIRST_EN = re.compile(
    r"^(?:then |suddenly |slowly |quickly )*(?!(?:this|its|his|as)\b)[a-z]+s\b(?!')(?=[\s.,;!]|$)",
    re.IGNORECASE,
)
_VERB_FIRST_ZH = re.compile(
    r"^(?:突然|慢慢|轻轻|又|就|便|地)*(?:叫|吵|追|跑|走|跳|飞|吃|喝|看|爬|钻|坐|站|转|推|踢|打|拿|睡|醒|游|滚|躺|回|离|停|开|抱|发现|遇|撞|来到|进)"
)
