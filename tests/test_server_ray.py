"""Workers on a real Ray cluster of two local nodes: both work, a lost node costs one attempt, idle actors end."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from server_room import Running

from longtake.errors import RequestError
from longtake.server.config import Config

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes of one CPU each, in processes of their own."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    running = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    running.add_node(**NODE)
    yield running
    running.shutdown()


def leased(server: Running) -> dict[str, str]:
    """Which worker has which job."""
    with sqlite3.connect(server.data / "jobs.sqlite") as database:
        return dict(database.execute("select id, worker from jobs where status = 'in_progress'").fetchall())


def until(true: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def ask(server: Running) -> str:
    answer = httpx.post(f"{server.url}/v1/videos", json={"prompt": "a dog"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_both_nodes_work_and_a_lost_one_costs_an_attempt(cluster: Any, tmp_path: Path) -> None:
    flags = ("--ray", cluster.address, "--workers", "3", "--lease-seconds", "4")
    server = Running(tmp_path / "data", *flags, pretend=4.0)
    try:
        assert (
            httpx.get(f"{server.url}/healthz").json()["workers"] == 0
        )  # nobody is hired before there is work
        jobs = [ask(server) for _ in range(3)]
        until(lambda: len(set(leased(server).values())) == 2)  # one on each node; the third job waits
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        assert {server.until_ended(job, 120)["status"] for job in jobs} == {"completed"}
        running = ask(server)
        until(lambda: running in leased(server))
        assert httpx.delete(f"{server.url}/v1/videos/{running}", timeout=60).json()["deleted"]
        assert server.until_ended(ask(server), 60)["status"] == "completed"
    finally:
        assert server.stop() == 0
    assert not leased(server)


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    from longtake.server.cluster import Cluster

    with pytest.raises(RequestError, match="there is no Ray cluster at"):
        Cluster(Config(tmp_path, ray="127.0.0.1:1"))
