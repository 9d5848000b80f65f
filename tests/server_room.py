"""A running `longtake serve` for tests, in its own process and folder, with the made-up model."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx


class Running:
    """One server process; the same folder can be started again."""

    def __init__(
        self, data: Path, *flags: str, pretend: float | None = 0.2, env: dict[str, str] | None = None
    ) -> None:
        self.data, self.flags, self.pretend, self.env = data, flags, pretend, env or {}
        self.log: list[str] = []
        self.url = ""
        self.start()

    def start(self, wait: bool = True) -> None:
        pretend = [] if self.pretend is None else ["--pretend", str(self.pretend)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "longtake", "serve", "--port", "0", "--data", str(self.data), *pretend, *self.flags],
            stderr=subprocess.PIPE, text=True, env={**os.environ, **self.env, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        ready = threading.Event()

        def read() -> None:
            assert self.process.stderr is not None
            for line in self.process.stderr:
                self.log.append(line)
                if match := re.search(r"(http://\S+)/v1", line):
                    self.url = match[1]
                    ready.set()
            ready.set()

        self.url = ""
        self.reader = threading.Thread(target=read, daemon=True)
        self.reader.start()
        assert ready.wait(60)
        if wait:
            assert self.url, "".join(self.log)
            self.wait_healthy()

    def wait_healthy(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if httpx.get(f"{self.url}/healthz").status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise AssertionError("".join(self.log))

    def workers(self) -> list[int]:
        """Process ids of its workers."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                command = (stat.parent / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == self.process.pid and b"longtake.server.worker" in command:
                found.append(int(stat.parent.name))
        return found

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        code = self.process.wait(30)
        self.reader.join(5)
        return code

    def until_ended(self, id: str, seconds: float = 60, key: str = "x") -> dict[str, Any]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            answer = httpx.get(f"{self.url}/v1/videos/{id}", headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == 200, answer.text
            video: dict[str, Any] = answer.json()
            if video["status"] in ("completed", "failed"):
                return video
            time.sleep(0.1)
        raise AssertionError(f"{video}\n" + "".join(self.log[-30:]))
