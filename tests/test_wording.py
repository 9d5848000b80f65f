"""Lines in two languages: each pair says the same values, and the Chinese one is Chinese."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from longtake.director import notes
from longtake.provenance import findings
from longtake.wording import Lines, say


@pytest.mark.parametrize("lines", [notes._LINES, findings._LINES], ids=["notes", "findings"])
def test_both_languages_say_the_same_values(lines: Lines) -> None:
    for key, pair in lines.items():
        english, chinese = ({name for _, name, _, _ in Formatter().parse(line) if name} for line in pair)
        assert english == chinese, key
        assert re.search(r"[\u4e00-\u9fff]", pair[1]) and not re.search(r"[\u4e00-\u9fff]", pair[0]), key


def test_the_language_is_told_by_its_beginning() -> None:
    lines = {"one": ("{count} shots of {what!r}", "{what!r} 的 {count} 个镜头")}
    assert say(lines, "one", "en-GB", count=2, what="a {cat}") == "2 shots of 'a {cat}'"
    assert say(lines, "one", "zh-CN", count=2, what="猫") == "'猫' 的 2 个镜头"
    with pytest.raises(KeyError):
        say(lines, "two", "zh")
