"""Lines for the user in two languages: where they are made there is a table of them, English first, then Chinese."""

from __future__ import annotations

from collections.abc import Mapping

Lines = Mapping[str, tuple[str, str]]
"""By key the line in English and in Chinese; {name} in it stands for a value."""
LANGUAGES = ("en", "zh")


def say(lines: Lines, key: str, language: str, **values: object) -> str:
    """The line of a key with its values, in Chinese where `language` is (zh, zh-CN), else in English."""
    english, chinese = lines[key]
    return (chinese if language.startswith("zh") else english).format(**values)
