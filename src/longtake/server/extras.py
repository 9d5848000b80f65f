"""What goes beyond the retired API, under /v1/longtake: progress, cancel, reorder, loop, blend, verify, webhooks."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from sqlalchemy import delete, func, select
from starlette.datastructures import UploadFile
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse

from longtake.server import desk as office
from longtake.server import forms, jobs, webhooks, wire
from longtake.server.desk import SETTINGS, TheCaller, TheDesk
from longtake.server.fetch import FetchError, resolve
from longtake.server.openapi import ERRORS, body
from longtake.server.schema import COMPLETED, FAILED, QUEUED, previews
from longtake.server.schema import webhooks as receivers
from longtake.server.videos import fitting, shown
from longtake.server.wire import ApiError
from longtake.wording import LANGUAGES

router = APIRouter(prefix="/v1/longtake", tags=["longtake"], responses=ERRORS)
_MOST_LISTENERS = 256
_LOOK, _PING = 0.4, 15.0


@router.get("/models", summary="What can be asked for")
async def models(desk: TheDesk, caller: TheCaller) -> Response:
    names = [{"id": name, "object": "model", "owned_by": "longtake"} for name in desk.config.names]
    return JSONResponse({"object": "list", "data": names})


@router.get("/videos", summary="List videos with their stage, seed and place in the queue")
async def list_details(
    desk: TheDesk,
    caller: TheCaller,
    after: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    status: Annotated[list[Literal["queued", "in_progress", "completed", "failed"]] | None, Query()] = None,
) -> Response:
    def look(connection: Any) -> dict[str, Any]:
        rows, more = jobs.page(connection, caller.owner, after or None, limit, order == "desc", status or ())
        ahead = jobs.places(connection, [row["id"] for row in rows if row["status"] == QUEUED])
        shapes = [{**wire.details(row), "ahead": ahead.get(row["id"])} for row in rows]
        return {**wire.page(rows, more), "data": shapes}

    return JSONResponse(await office.attempt(desk.read(look)))


@router.get("/videos/{video_id}", summary="A video with its stage, seed and place in the queue")
async def details(video_id: str, desk: TheDesk, caller: TheCaller) -> Response:
    def look(connection: Any) -> dict[str, Any]:
        row = jobs.get(connection, caller.owner, video_id)
        place = jobs.ahead(connection, row) if row["status"] == "queued" else None
        return {**wire.details(row), "ahead": place}

    return JSONResponse(await office.attempt(desk.read(look)))


@router.post("/videos/{video_id}/cancel", summary="Stop making a video and keep its record")
async def cancel(video_id: str, desk: TheDesk, caller: TheCaller) -> Response:
    return shown(await office.attempt(desk.write(lambda c: jobs.cancel(c, caller.owner, video_id))))


@router.post(
    "/videos/{video_id}/move",
    summary="Put a queued video before another, or last",
    openapi_extra=body("MoveVideo"),
)
async def move(video_id: str, http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    form = await forms.read_form(http, ("before",), desk.config.limits.field_bytes)
    before = forms.text(form, "before") if form.get("before") is not None else None
    return shown(await office.attempt(desk.write(lambda c: jobs.move(c, caller.owner, video_id, before))))


@router.get("/videos/{video_id}/events", summary="Progress and preview frames as server-sent events")
async def events(video_id: str, http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    row = await office.attempt(desk.read(lambda c: jobs.get(c, caller.owner, video_id)))
    state = http.app.state
    if state.listeners >= _MOST_LISTENERS:
        raise ApiError(
            503, "too many listeners; ask for the status instead", "busy", headers={"retry-after": "10"}
        )
    return StreamingResponse(
        _events(state, desk, caller.owner, row),
        media_type="text/event-stream",
        headers={"cache-control": "no-store"},
    )


async def _events(state: Any, desk: office.Desk, owner: str, row: jobs.Row) -> AsyncIterator[str]:
    """`progress` on every change, `preview` with a small JPEG, at last `completed`, `failed` or `deleted`."""
    state.listeners += 1
    try:
        id, last, shown_preview, quiet = row["id"], "", 0, 0.0
        while not state.closing:
            text = json.dumps(wire.details(row), ensure_ascii=False)
            if row["status"] in (COMPLETED, FAILED):
                yield _event(row["status"], text)
                return
            if text != last:
                last, quiet = text, 0.0
                yield _event("progress", text)
            found = await desk.read(lambda c, n=shown_preview: _preview(c, id, n))  # type: ignore[misc]
            if found is not None:
                shown_preview = found.number
                image = "data:image/jpeg;base64," + base64.b64encode(found.jpeg).decode()
                yield _event("preview", json.dumps({"number": found.number, "image": image}))
            await asyncio.sleep(_LOOK)
            quiet += _LOOK
            if quiet >= _PING:
                quiet = 0.0
                yield ": still here\n\n"
            try:
                row = await desk.read(lambda c: jobs.get(c, owner, id))
            except jobs.MissingError:
                yield _event("deleted", json.dumps({"id": id}))
                return
    finally:
        state.listeners -= 1


def _preview(connection: Any, id: str, beyond: int) -> Any:
    return connection.execute(
        select(previews).where(previews.c.job == id, previews.c.number > beyond)
    ).first()


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"


@router.post(
    "/loops", summary="Lead the end of a video back to its beginning", openapi_extra=body("LoopVideo")
)
async def loop(http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    known = ("prompt", "video", "model", "size", *SETTINGS)
    form = await forms.read_form(http, known, desk.config.limits.field_bytes)
    digest = await forms.digest("loop", form)
    if (row := await office.repeated(desk, caller, http, digest)) is not None:
        return shown(row)
    order = await office.new_order(desk, "loop", form)
    seconds, size = await office.take_video(desk, caller, order, form.get("video"))
    order.seconds = order.shown_seconds = seconds
    order.size = forms.text(form, "size", fitting(size))
    return shown(await office.enqueue(desk, caller, order, http, digest))


@router.post("/blends", summary="Connect two videos", openapi_extra=body("BlendVideos"))
async def blend(http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    known = ("prompt", "video", "video_b", "model", "size", *SETTINGS)
    form = await forms.read_form(http, known, desk.config.limits.field_bytes)
    digest = await forms.digest("blend", form)
    if (row := await office.repeated(desk, caller, http, digest)) is not None:
        return shown(row)
    order = await office.new_order(desk, "blend", form)
    first, size = await office.take_video(desk, caller, order, form.get("video"))
    second, _ = await office.take_video(desk, caller, order, form.get("video_b"), "video_b")
    order.seconds, order.shown_seconds = min(60.0, max(0.25, first)), first + second
    order.size = forms.text(form, "size", fitting(size))
    return shown(await office.enqueue(desk, caller, order, http, digest))


@router.post("/verify", summary="Look for the marks of an AI-made file", openapi_extra=body("VerifyFile"))
async def verify(http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    form = await forms.read_form(http, ("file", "language"), desk.config.limits.field_bytes)
    if not isinstance(form.get("file"), UploadFile):
        raise ApiError(400, "file must be a picture or a video", "missing_required_parameter", "file")
    language = forms.text(form, "language", "en")
    if language not in LANGUAGES:
        raise ApiError(400, "language: choose en or zh", "invalid_value", "language")
    report = await desk.intake.verify(form["file"], language)
    return JSONResponse(report)


@router.post("/webhooks", summary="Be told when videos are done", openapi_extra=body("CreateWebhook"))
async def create_webhook(http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    form = await forms.read_form(http, ("url", "secret"), desk.config.limits.field_bytes)
    url, secret = forms.text(form, "url"), forms.text(form, "secret", webhooks.new_secret())
    try:
        base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        if not secret.startswith("whsec_") or len(secret) < 30:
            raise ValueError
    except ValueError:
        words = "secret must be whsec_ and at least 24 characters of base64; leave it out to be given one"
        raise ApiError(400, words, "invalid_value", "secret") from None
    try:
        await resolve(url, desk.config.allow_private)
    except FetchError as error:
        raise ApiError(400, f"url: {error}", "invalid_url", "url") from None
    table = receivers
    count = await desk.read(lambda c: c.scalar(select(func.count()).where(table.c.owner == caller.owner)))
    if count is not None and count >= webhooks.MOST_WEBHOOKS:
        raise ApiError(400, f"at most {webhooks.MOST_WEBHOOKS} webhooks are kept; delete one", "too_many")
    row = await desk.write(webhooks.register(caller.owner, url, secret))
    return JSONResponse({**_webhook(row), "secret": secret})


@router.get("/webhooks", summary="The receivers of this key")
async def list_webhooks(desk: TheDesk, caller: TheCaller) -> Response:
    query = select(receivers).where(receivers.c.owner == caller.owner)
    rows = await desk.read(lambda c: c.execute(query).mappings().all())
    return JSONResponse({"object": "list", "data": [_webhook(row) for row in rows], "has_more": False})


@router.delete("/webhooks/{webhook_id}", summary="Tell a receiver no more")
async def delete_webhook(webhook_id: str, desk: TheDesk, caller: TheCaller) -> Response:
    table = receivers
    change = delete(table).where(table.c.id == webhook_id, table.c.owner == caller.owner)
    if (await desk.write(lambda c: c.execute(change).rowcount)) == 0:
        raise ApiError(404, f"there is no webhook {webhook_id!r}", "not_found", "webhook_id")
    return JSONResponse({"id": webhook_id, "deleted": True, "object": "webhook.deleted"})


def _webhook(row: Any) -> dict[str, Any]:
    return {"id": row["id"], "object": "webhook", "created_at": int(row["created_at"]), "url": row["url"]}
