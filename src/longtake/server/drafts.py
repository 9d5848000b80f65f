"""Storyboards are directed and repaired in a process of their own: a server that answers others does not wait for a
long script, nor for an endpoint.

`python -m longtake.server.drafts` reads one JSON object from standard input and answers with one: a board with the
director's notes and what lint still finds, or an error.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from longtake.errors import LongtakeError
from longtake.server.child import answer_of, bare_environment
from longtake.server.config import PACKAGED, Config
from longtake.server.sandbox import limit
from longtake.server.wire import ApiError

_SECONDS = 20
"""Of the processor, for one board."""
_ENDPOINT_SECONDS = 150.0
"""More than the director waits for an endpoint before the rules take over."""


class Drafts:
    """Directs and repairs boards, two at a time."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._turns = asyncio.Semaphore(2)

    async def direct(self, values: dict[str, Any], model: str, by_endpoint: bool) -> dict[str, Any]:
        """The board of a prompt; `values` are those of `propose`. Raises ApiError."""
        weights = self._config.weights(model)
        vocabulary = "pocket" if weights in PACKAGED else "any"
        director = self._config.director if by_endpoint else "rules"
        return await self._run(
            {"direct": {**values, "director": director}, "vocabulary": vocabulary}, director
        )

    async def repair(self, board: dict[str, Any], seconds: float | None) -> dict[str, Any]:
        """The board with what can be mended mended. Raises ApiError."""
        return await self._run({"repair": board, "seconds": seconds}, "rules")

    async def _run(self, asked: dict[str, Any], director: str) -> dict[str, Any]:
        is_local = director == "rules"
        async with self._turns:
            found = await answer_of(
                "longtake.server.drafts",
                given=json.dumps(asked).encode(),
                seconds=_SECONDS + 10 if is_local else _ENDPOINT_SECONDS,
                environment=bare_environment() if is_local else dict(os.environ),  # an endpoint wants its key
            )
        field = "prompt" if "direct" in asked else "storyboard"
        if found is None:
            words = f"{field}: it takes the director too long; say it in fewer words"
            raise ApiError(400, words, "invalid_value", field)
        if "error" in found:
            raise ApiError(400, found["error"], "invalid_value", field)
        return found


def draft(asked: dict[str, Any]) -> dict[str, Any]:
    """What the process does. Raises LongtakeError."""
    from longtake.director import lint, propose, repair
    from longtake.director.setups import words
    from longtake.storyboard import build_storyboard

    if "direct" in asked:
        made = propose(vocabulary=words(asked["vocabulary"]), **asked["direct"])
        board, notes = made.board, made.notes
    else:
        board, notes = repair(build_storyboard(asked["repair"]), asked["seconds"])
    findings = [vars(finding) for finding in lint(board, asked.get("seconds"))]
    return {"board": board.model_dump(mode="json"), "notes": list(notes), "findings": findings}


def main() -> None:
    limit(_SECONDS)
    try:
        print(json.dumps(draft(json.load(sys.stdin))))
    except LongtakeError as error:
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main()
