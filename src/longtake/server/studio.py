"""Serves the studio, the app in the browser: static files, public, that ask for a key themselves when one is needed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

FOLDER = Path(__file__).parent.parent / "studio"
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:",
    "media-src 'self' blob:", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    "require-trusted-types-for 'script'", "trusted-types 'none'",
))  # fmt: skip
"""Nothing from elsewhere, no script in the page, no text taken for markup."""


@dataclass(frozen=True)
class Asset:
    """One file, whole in memory."""

    data: bytes
    headers: dict[str, str]


def build_router() -> APIRouter:
    """Routes for `/` and `/studio/NAME`."""
    assets = {file.name: _asset(file) for file in sorted(FOLDER.iterdir()) if file.suffix in _KINDS}
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def page(http: HttpRequest) -> Response:
        return _answer(assets["index.html"], http)

    @router.api_route("/studio/{name}", methods=["GET", "HEAD"])
    async def asset(name: str, http: HttpRequest) -> Response:
        if name not in assets:
            raise HTTPException(404)
        return _answer(assets[name], http)

    return router


def _asset(file: Path) -> Asset:
    data = file.read_bytes()
    headers = {
        "content-type": _KINDS[file.suffix],
        "content-length": str(len(data)),
        "etag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
        "cache-control": "no-cache",  # asked for each time, answered with 304: an update is seen at once
        "content-security-policy": POLICY,
    }
    return Asset(data, headers)


def _answer(asset: Asset, http: HttpRequest) -> Response:
    if asset.headers["etag"] in http.headers.get("if-none-match", ""):
        kept = {
            name: value
            for name, value in asset.headers.items()
            if name not in ("content-length", "content-type")
        }
        return Response(status_code=304, headers=kept)
    return Response(b"" if http.method == "HEAD" else asset.data, headers=asset.headers)
