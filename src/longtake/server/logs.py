"""Logs: one line an event, for people or as JSON. Never a prompt, a key or a secret."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

_OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class _Lines(logging.Formatter):
    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        extra: dict[str, Any] = {k: v for k, v in vars(record).items() if k not in _OWN and k[0] != "_"}
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        message = record.getMessage()
        if record.exc_info:
            extra["trace"] = self.formatException(record.exc_info)
        if self._as_json:
            line = {"time": stamp, "level": record.levelname.lower(), "event": message, **extra}
            return json.dumps(line, ensure_ascii=False, default=str)
        trace = f"\n{extra.pop('trace')}" if "trace" in extra else ""
        words = " ".join(f"{key}={value}" for key, value in extra.items())
        return f"{stamp} {record.levelname.lower():7} {message} {words}".rstrip() + trace


def set_up(format: str) -> None:
    """Send the logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(format == "json"))
    root = logging.getLogger("longtake")
    root.handlers[:], root.propagate = [handler], False
    root.setLevel(logging.INFO)
    errors = logging.getLogger("uvicorn.error")
    errors.handlers[:], errors.propagate = [handler], False
    errors.setLevel(logging.WARNING)
