"""A process that answers with one JSON object, or not at all."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from longtake.server.child import answer_of, bare_environment


def ask(module: str, *arguments: str, given: bytes | None = None, seconds: float = 30) -> object:
    return asyncio.run(
        answer_of(module, *arguments, given=given, seconds=seconds, environment=bare_environment())
    )


def test_an_answer_and_none() -> None:
    assert ask("json.tool", given=b'{"shots": ["\xe7\x8c\xab"]}') == {"shots": ["猫"]}
    assert ask("json.tool") is None and ask("json.tool", given=b"{") is None and ask("this") is None


def test_what_takes_too_long_has_ended(tmp_path: Path) -> None:
    late = tmp_path / "late"
    code = f"import time, pathlib; time.sleep(2); pathlib.Path({str(late)!r}).touch()"
    began = time.monotonic()
    assert ask("timeit", "-n", "1", "-r", "1", code, seconds=0.5) is None
    assert time.monotonic() - began < 2
    time.sleep(2)
    assert not late.exists()


def test_no_secret_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    kept = bare_environment()
    assert "secret" not in kept.values() and kept["PATH"] == os.environ["PATH"]
