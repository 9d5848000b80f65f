"""Work in a process of its own that answers with one JSON object: a stranger's file, a long script."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any


async def answer_of(
    module: str, *arguments: str, given: bytes | None = None, seconds: float, environment: dict[str, str]
) -> dict[str, Any] | None:
    """What `python -m module` prints; None when it does not come within `seconds` or is no JSON.

    `given` is its standard input. The process has ended when this returns, is cancelled, or fails.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    try:
        answer, _ = await asyncio.wait_for(process.communicate(given), seconds)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        found: dict[str, Any] = json.loads(answer)
    except ValueError:
        return None
    return found


def bare_environment() -> dict[str, str]:
    """No secret of the server reaches the process that opens a stranger's file; where the marks' keys lie does."""
    kept = (
        "PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "HOME", "TMPDIR", "LONGTAKE_DATA", "XDG_DATA_HOME"
    )  # fmt: skip
    return {name: os.environ[name] for name in kept if name in os.environ} | {"OMP_NUM_THREADS": "1"}
