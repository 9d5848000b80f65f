"""What is under deploy/ is well formed, and says nothing that the package does not have."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UNIT, CONTAINER = ROOT / "deploy" / "longtake.service", ROOT / "deploy" / "Containerfile"


def flags_of_serve() -> str:
    shown = subprocess.run(
        [sys.executable, "-m", "longtake", "serve", "--help"],
        capture_output=True, text=True, check=True, env={"COLUMNS": "200", "PATH": "/usr/bin"},
    )  # fmt: skip
    return shown.stdout


def test_the_unit_passes_systemds_own_check(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze: apt install systemd")
    unit = re.sub(r"(?<=ExecStart=)\S+", "/bin/true", UNIT.read_text())
    unit = re.sub(r"(?m)^(User|Group)=.*", r"\1=root", unit)  # its own user is made by who installs it
    (tmp_path / UNIT.name).write_text(unit)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(tmp_path / UNIT.name)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_commands_are_ones_that_serve_knows() -> None:
    known = flags_of_serve()
    command = re.search(r"(?m)^ExecStart=(.*)$", UNIT.read_text())
    entry = re.search(r"(?m)^CMD (\[.*\])$", CONTAINER.read_text())
    assert command and entry
    words = shlex.split(command[1])[1:], json.loads(entry[1])
    for line in words:
        assert line[0] == "serve"
        assert all(word in known for word in line if word.startswith("--"))


def test_the_container_is_made_of_what_is_there() -> None:
    text = CONTAINER.read_text()
    for sources in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", text):
        assert all((ROOT / source).exists() for source in sources.split())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = re.findall(r"\.\[([a-z0-9,]+)\]", text)
    assert asked and all(extra in extras for names in asked for extra in names.split(","))
    assert re.search(r"(?m)^USER (?!root)", text), "the server does not run as root"
