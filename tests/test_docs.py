"""The documents say what the program does: they name every flag and public name, and the README parses."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer

import longtake
from longtake import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CLI_PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
READABLE = (".mp4", ".webm", ".mov", ".png", ".jpg", ".webp", ".json", ".safetensors", ".zip")


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its whole name: `generate`, `world sample`, ..."""

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "list_commands"):
            yield name, command
            return
        context = command.context_class(command, info_name=name)
        for child in command.list_commands(context):
            yield from below(f"{name} {child}".strip(), command.get_command(context, child))

    yield from below("", typer.main.get_command(cli.app))


def readme_commands() -> list[str]:
    """The lines of the README's shell blocks that call longtake, continuation lines joined."""
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", README, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip().removeprefix("$ ") for line in lines if re.match(r"\s*(\$ )?longtake ", line)]


def section(name: str) -> str:
    """The part of docs/cli.md headed `## longtake NAME`, up to the next heading of that rank."""
    found = re.search(
        rf"^## `?longtake {re.escape(name)}`?$(.*?)(?=^## |\Z)", CLI_PAGE, re.DOTALL | re.MULTILINE
    )
    assert found, f"docs/cli.md has no section '## longtake {name}'"
    return found.group(1)


COMMANDS = dict(commands())


def test_the_commands_are_found() -> None:
    assert "generate" in COMMANDS
    assert len(readme_commands()) >= 6


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_flag_is_documented(name: str) -> None:
    text = section(name)
    flags = [
        flag
        for parameter in COMMANDS[name].params
        if parameter.param_type_name == "option" and not getattr(parameter, "hidden", False)
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("--") and flag != "--help"
    ]
    missing = [flag for flag in flags if not re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text)]
    assert not missing, f"docs/cli.md, section longtake {name}, does not name {', '.join(missing)}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_flag_is_documented_that_does_not_exist(name: str) -> None:
    known = {
        flag for parameter in COMMANDS[name].params for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    written = set(re.findall(r"^\| `(--[a-z-]+)", section(name), re.MULTILINE))
    assert written <= known | {"--help"}, (
        f"docs/cli.md names {written - known}, which longtake {name} does not take"
    )


@pytest.mark.parametrize("name", longtake.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    pages = README + CLI_PAGE + "".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs").glob("*.md"))
    assert re.search(rf"\b(longtake\.)?{re.escape(name)}\b", pages), f"no document names longtake.{name}"


def test_the_public_names_are_sorted() -> None:
    assert list(longtake.__all__) == sorted(longtake.__all__)


@pytest.mark.parametrize("line", readme_commands())
def test_every_readme_command_parses(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line, comments=True)[1:]
    for word in words:  # a command may insist that the file it reads exists
        if word.endswith(READABLE):
            (tmp_path / word).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / word).touch()
    name = next((" ".join(words[:n]) for n in (3, 2, 1) if " ".join(words[:n]) in COMMANDS), None)
    assert name is not None, f"no such command: {line}"
    with COMMANDS[name].make_context(name, words[len(name.split()) :]):
        pass


def test_the_readme_is_short_and_leads_with_a_picture() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    picture = next((number for number, line in enumerate(lines) if "docs/media/" in line), 999)
    assert picture < 10
    assert any("make film" in line for line in lines[:30])
    assert any("make test" in line for line in lines[:30])


def test_readme_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", README)
    local = [a or b for a, b in targets if "://" not in (a or b)]
    assert local
    missing = [path for path in local if not (ROOT / path).exists()]
    assert not missing, f"README.md points at {', '.join(missing)}"


def test_constraints_pin_versions_and_name_no_address() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins)
    pinned = {pin.partition("==")[0].lower().replace("_", "-") for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    names = {re.split(r"[<>=\[;]", item)[0].strip().lower() for item in asked} - {"longtake"}
    assert names <= pinned, f"not pinned: {names - pinned}"
