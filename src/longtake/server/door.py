"""What every request passes: an id, the caller's key, bounds on the body's size and time, headers, counters.

Plain ASGI, because middleware that wraps requests and responses costs more than the work of most routes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from longtake.server.config import Config
from longtake.server.keys import Caller, KeyRing
from longtake.server.metrics import Metrics
from longtake.server.wire import ApiError

log = logging.getLogger("longtake.server")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

OPEN = ("/", "/healthz", "/openapi.json")
"""Paths that need no key; what the studio is made of needs none either, what it shows does."""
STUDIO = "/studio/"
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Door:
    """ASGI middleware in front of the whole app."""

    def __init__(self, app: Any, config: Config, keys: KeyRing, metrics: Metrics) -> None:
        self._app, self._config, self._keys, self._metrics = app, config, keys, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, send, _request_id())
        body = _Body(receive, self._config.limits.upload_bytes, self._config.limits.body_seconds)
        try:
            scope.setdefault("state", {})["caller"] = await self._admit(scope)
            body.check_declared(_header(scope, b"content-length"))
            await self._app(scope, body.receive, visit.send)
        except ApiError as error:
            await visit.answer(error)
        except SQLAlchemyError as error:
            log.error("database", extra={"request": visit.id, "reason": type(error).__name__})
            busy = "the job store cannot be reached right now; try again"
            await visit.answer(ApiError(503, busy, "store_unavailable", headers={"retry-after": "2"}))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            log.exception("request failed", extra={"request": visit.id, "path": scope["path"]})
            await visit.answer(
                ApiError(500, f"the server failed; its log names {visit.id}", "internal_error")
            )
        finally:
            self._metrics.request(scope, visit.status, time.perf_counter() - visit.started)

    async def _admit(self, scope: Scope) -> Caller | None:
        """Who asks. Raises ApiError 401 or 403."""
        if scope["path"] in OPEN or scope["path"].startswith(STUDIO):
            return None
        scheme, _, key = (_header(scope, b"authorization") or "").partition(" ")
        key = key.strip() if scheme.lower() == "bearer" else ""
        known, caller = self._keys.cached(key)
        if not known:
            caller = await run_in_threadpool(self._keys.find, key)
        if caller is None:
            words = (
                "Incorrect API key provided" if key else "no API key given; send Authorization: Bearer KEY"
            )
            raise ApiError(401, words, "invalid_api_key", headers={"www-authenticate": "Bearer"})
        if caller.owner == "local":
            _check_local(scope)
        return caller


def _check_local(scope: Scope) -> None:
    """Without keys, a web page in the user's browser must not be able to use the server (DNS rebinding, forms)."""
    host = _header(scope, b"host") or "localhost"
    if not _is_loopback(host):
        raise ApiError(
            403, "without API keys only this machine is served; make one: longtake keys api create NAME"
        )
    origin = _header(scope, b"origin")
    if origin is not None and origin.partition("://")[2] != host:
        raise ApiError(
            403, "pages of other origins are not served; make an API key for them", "origin_not_allowed"
        )


def _is_loopback(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


class _Body:
    """Lets a body in up to a size and for a time, so that neither a flood nor a trickle ties the server up."""

    def __init__(self, receive: Receive, most: int, seconds: float) -> None:
        self._receive, self._most, self._seconds = receive, most, seconds
        self._size, self._complete = 0, False
        self._until = time.monotonic() + seconds

    def check_declared(self, length: str | None) -> None:
        if length is not None and length.isdigit() and int(length) > self._most:
            raise self._too_large()

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._until - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise ApiError(
                408, f"the body took longer than {self._seconds:g} seconds", "request_timeout",
                headers={"connection": "close"},
            ) from None  # fmt: skip
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._size > self._most:
                raise self._too_large()
        return message

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            f"the body is larger than {self._most} bytes",
            "body_too_large",
            headers={"connection": "close"},
        )


class _Visit:
    """One request and its answer."""

    def __init__(self, scope: Scope, send: Send, id: str) -> None:
        self._scope, self._send, self.id = scope, send, id
        self.status, self.started = 0, time.perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(name.lower(), value) for name, value in message.get("headers", ())]
            said = {name for name, _ in own}  # the studio's page has a policy of its own
            message["headers"] = [
                *own, *(pair for pair in _SECURITY if pair[0] not in said), (b"x-request-id", self.id.encode()),
                (b"openai-processing-ms", str(round(1000 * (time.perf_counter() - self.started))).encode()),
            ]  # fmt: skip
        await self._send(message)

    async def answer(self, error: ApiError) -> None:
        """Send an error, unless an answer is under way already."""
        if self.status:
            return
        body = json.dumps(error.body()).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
        if error.status < 500 and error.status not in (408, 429):
            headers.setdefault("x-should-retry", "false")
        pairs = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": pairs})
        await self._send(
            {"type": "http.response.body", "body": b"" if self._scope["method"] == "HEAD" else body}
        )


def _request_id() -> str:
    return f"req_{secrets.token_hex(12)}"


def _header(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
