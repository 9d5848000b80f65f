"""Brings what a client gave - an upload, a data: or web address, the id of a film - into the storage as a safe file."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from longtake.server import fetch
from longtake.server.child import answer_of, bare_environment
from longtake.server.config import Limits
from longtake.server.files import Storage
from longtake.server.sandbox import Media, sniff
from longtake.server.wire import ApiError


class Intake:
    """Takes media in; few at a time, because each decodes in a process of its own."""

    def __init__(self, storage: Storage, folder: Path, limits: Limits, allow_private: bool) -> None:
        self._storage, self._folder, self._limits, self._allow_private = (
            storage,
            folder,
            limits,
            allow_private,
        )
        self._turns = asyncio.Semaphore(2)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    async def upload(self, given: UploadFile, name: str, wanted: tuple[str, ...], param: str) -> Media:
        """Check an upload and store it under `name` (without suffix). Raises ApiError."""
        with tempfile.TemporaryDirectory(dir=self._folder) as room:
            source = Path(room) / "given"
            await run_in_threadpool(_spill, given, source)
            return await self._take(source, name, wanted, param)

    async def address(self, url: str, name: str, wanted: tuple[str, ...], param: str) -> Media:
        """Check what lies at a data: or web address and store it under `name`. Raises ApiError."""
        with tempfile.TemporaryDirectory(dir=self._folder) as room:
            source = Path(room) / "given"
            if url.startswith("data:"):
                source.write_bytes(_data(url, param))
            else:
                try:
                    await fetch.download(url, source, self._limits.upload_bytes, self._allow_private)
                except fetch.FetchError as error:
                    raise ApiError(400, f"{param}: {error}", "invalid_url", param) from None
            return await self._take(source, name, wanted, param)

    async def verify(self, given: UploadFile, language: str) -> dict[str, Any]:
        """What `longtake verify` says of an upload, in English or Chinese (en, zh). Raises ApiError."""
        with tempfile.TemporaryDirectory(dir=self._folder) as room:
            source = Path(room) / "given"
            await run_in_threadpool(_spill, given, source)
            with open(source, "rb") as file:
                kind = sniff(file.read(16))
            if kind is None:
                raise ApiError(400, "file is neither a picture nor a video", "invalid_media", "file")
            named = source.rename(source.with_name("the-file.mp4" if kind == "video" else "the-file.png"))
            async with self._turns:
                return await self._run("verify", named, named, "file", language=language)

    async def _take(self, source: Path, name: str, wanted: tuple[str, ...], param: str) -> Media:
        with open(source, "rb") as file:
            kind = sniff(file.read(16))
        if kind is None or (kind not in wanted and not ("character" in wanted and kind == "video")):
            what = "a PNG, JPEG or WebP picture" if "picture" in wanted else "an MP4, MOV or WebM video"
            raise ApiError(400, f"{param} is not {what}", "invalid_media", param)
        how = "character" if "character" in wanted else kind
        target = source.with_name("safe.mp4" if how == "video" else "safe.png")
        async with self._turns:
            media = await self._convert(how, source, target, param)
        await run_in_threadpool(self._storage.put, target, name + target.suffix)
        return media

    async def _convert(self, kind: str, source: Path, target: Path, param: str) -> Media:
        return Media(**await self._run(kind, source, target, param))

    async def _run(
        self, kind: str, source: Path, target: Path, param: str, language: str = "en"
    ) -> dict[str, Any]:
        """One visit to the sandbox. Raises ApiError."""
        bounds = {key: getattr(self._limits, key) for key in ("pixels", "media_seconds", "decode_seconds")}
        bounds["language"] = language
        found = await answer_of(
            "longtake.server.sandbox", kind, str(source), str(target), json.dumps(bounds),
            seconds=self._limits.decode_seconds + 5, environment=bare_environment(),
        )  # fmt: skip
        if found is None:
            message = "cannot be read within the limits of time and memory; send a smaller or shorter file"
            raise ApiError(400, f"{param} {message}", "invalid_media", param)
        if "error" in found:
            raise ApiError(400, f"{param}: {found['error']}", "invalid_media", param)
        return found


def _spill(given: UploadFile, target: Path) -> None:
    given.file.seek(0)
    with open(target, "wb") as file:
        shutil.copyfileobj(given.file, file, 2**20)


def _data(url: str, param: str) -> bytes:
    head, comma, body = url.partition(",")
    try:
        if not comma or not head.endswith(";base64"):
            raise ValueError
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise ApiError(400, f"{param}: a data: address must be base64", "invalid_url", param) from None
