"""Workers as Ray actors: they lease jobs from the same table as workers here, wherever the cluster runs them.

An actor asks for the resources of one worker (`--ray-gpus`), and there are only as many actors as open jobs: Ray's
autoscaler adds nodes for those that find no room, and takes nodes away after idle actors have ended. Losing a node is
losing its workers: their jobs go back to the queue like those of a process that died.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import Any

from longtake.errors import MissingExtraError, RequestError
from longtake.server.config import Config
from longtake.server.crew import RESTED
from longtake.server.settings import from_json, to_json

IDLE_SECONDS = 60.0
"""After so long without work an actor ends, so that its node can be given back."""


class Actor:
    """What runs on the cluster: one worker. Its hard stop, ending the process, ends the actor."""

    def __init__(self, config: dict[str, Any], name: str) -> None:
        from longtake.server.worker import Worker, maker_for

        settings = from_json(config)
        self._worker = Worker(settings, name, maker_for(settings))

    def run(self, idle: float) -> str:
        """Work until stopped, or until there was nothing to do for `idle` seconds."""
        self._worker.run(idle)
        return RESTED

    def stop(self) -> None:
        self._worker.shutdown.set()


class Remote:
    """A worker on the cluster, as the crew holds it."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self._run = actor.run.remote(IDLE_SECONDS).future()
        self._gone = threading.Event()

    @property
    def alive(self) -> bool:
        return not self._gone.is_set()

    async def ended(self) -> str:
        try:
            return str(await asyncio.wrap_future(self._run))
        except self._ray.exceptions.RayError as error:
            return type(error).__name__
        finally:
            self._gone.set()
            self.kill()

    def stop(self) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._actor.stop.remote()

    def kill(self) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(self._actor)


class Cluster:
    """The connection to a Ray cluster."""

    def __init__(self, config: Config) -> None:
        """Raises MissingExtraError, or RequestError for a cluster that does not answer or cannot reach the jobs."""
        try:
            import ray
        except ImportError:
            raise MissingExtraError('--ray needs one more package: pip install "longtake[ray]"') from None
        self._ray: Any = ray
        self._config = config
        _knock(config.ray)
        try:
            ray.init(
                address=config.ray, namespace="longtake", log_to_driver=False, logging_level=logging.ERROR
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _absent(config.ray, error) from None
        nodes = {node["NodeManagerAddress"] for node in self._ray.nodes() if node["Alive"]}
        if len(nodes) > 1 and (not config.database or "://" not in config.storage):
            ray.shutdown()
            raise RequestError(
                f"the cluster has {len(nodes)} machines, which cannot reach jobs and films in a folder of this one; "
                "give --database postgresql://... and --storage s3://..."
            )
        self._actors = self._ray.remote(Actor).options(
            num_cpus=1, num_gpus=config.ray_gpus, max_restarts=0, max_concurrency=2
        )

    async def hire(self, name: str) -> Remote:
        """Raises ConnectionError while the cluster is away; the crew tries again."""
        try:
            return Remote(self._ray, self._actors.remote(to_json(self._config), name))
        except self._ray.exceptions.RayError as error:
            raise ConnectionError(f"the cluster does not answer ({type(error).__name__})") from None

    def close(self) -> None:
        self._ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself waits for minutes before it says that nobody is there. Raises RequestError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return  # "auto", or what Ray will know
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError as error:
        raise _absent(address, error) from None


def _absent(address: str, error: Exception) -> RequestError:
    reason = " ".join(str(error).split())[:200]
    return RequestError(
        f"there is no Ray cluster at {address!r} ({reason}); start one with `ray start --head`, "
        "and give its address and RAY_AUTH_TOKEN"
    )
