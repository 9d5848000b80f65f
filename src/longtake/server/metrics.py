"""Counters for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """What `/metrics` shows; labels are routes and statuses, never words of a user."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "longtake_requests", "Requests answered", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "longtake_request_seconds", "Time to answer", ("route",), registry=self._registry,
            buckets=(0.005, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
        )  # fmt: skip
        self._jobs = Gauge("longtake_jobs", "Jobs by status", ("status",), registry=self._registry)
        self._workers = Gauge("longtake_workers", "Worker processes alive here", registry=self._registry)
        self._restarts = Gauge(
            "longtake_worker_restarts", "Workers that ended and were replaced", registry=self._registry
        )
        self._webhooks = Gauge(
            "longtake_webhook_deliveries_waiting", "Deliveries not yet made", registry=self._registry
        )

    def request(self, scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "HEAD", "PATCH") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def page(self, jobs: Mapping[str, int], workers: int, restarts: int, waiting: int) -> bytes:
        """The text Prometheus reads."""
        for status, count in jobs.items():
            self._jobs.labels(status).set(count)
        self._workers.set(workers)
        self._restarts.set(restarts)
        self._webhooks.set(waiting)
        return generate_latest(self._registry)
