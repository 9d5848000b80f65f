"""A worker dies in the middle of a film of several shots: the next attempt makes only what was missing."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import httpx2 as httpx
import pytest
from server_room import Running

pytestmark = pytest.mark.slow

BOARD = {
    "shots": [{"id": f"s{n}", "duration": 1, "seed": n, "action": "a dog in the snow"} for n in range(4)]
}


def look(folder: Path, seen: dict[str, set[int]]) -> None:
    """Note which file lies under each shot's name: a shot that is made again comes as another file."""
    for path in folder.glob("*.safetensors"):
        with suppress(FileNotFoundError):  # the job ended between the listing and the look
            seen[path.name].add(path.stat().st_ino)


def test_finished_shots_outlive_the_worker(weights: Path, tmp_path: Path) -> None:
    server = Running(tmp_path / "data", "--model", f"tiny={weights}", pretend=None)
    try:
        body = {"prompt": "a dog", "storyboard": BOARD, "fps": 12, "steps": 40, "guidance": 3, "sound": False}
        made = httpx.post(f"{server.url}/v1/videos", json=body, timeout=30)
        assert made.status_code == 200, made.text
        id = made.json()["id"]
        folder, seen = tmp_path / "data" / "work" / id, defaultdict(set)
        until = time.monotonic() + 120
        while len(seen) < 2 and time.monotonic() < until:
            look(folder, seen)
            time.sleep(0.01)
        os.kill(server.workers()[0], signal.SIGKILL)
        look(folder, seen)
        kept = set(seen)
        assert 2 <= len(kept) < len(BOARD["shots"]), "the worker was to die in the middle"
        while folder.exists() and time.monotonic() < until:
            look(folder, seen)
            time.sleep(0.01)
        assert server.until_ended(id)["status"] == "completed"
        assert httpx.get(f"{server.url}/v1/longtake/videos/{id}").json()["attempt"] == 2
        assert len(seen) == len(BOARD["shots"])
        assert all(len(seen[name]) == 1 for name in kept), "a finished shot was made a second time"
    finally:
        server.stop()
