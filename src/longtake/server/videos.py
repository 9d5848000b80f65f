"""The retired Videos API: the ten routes its SDKs call, answer for answer."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from sqlalchemy import insert, select
from starlette.datastructures import UploadFile
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from longtake.server import desk as office
from longtake.server import forms, jobs, wire
from longtake.server.content import send_file
from longtake.server.desk import SETTINGS, TheCaller, TheDesk
from longtake.server.keys import Caller
from longtake.server.openapi import ERRORS, body
from longtake.server.schema import characters
from longtake.server.store import new_id
from longtake.server.variants import VARIANTS
from longtake.server.wire import ApiError

router = APIRouter(prefix="/v1/videos", tags=["videos"], responses=ERRORS)
CREATE = ("prompt", "model", "seconds", "size", "input_reference", "storyboard", "characters", *SETTINGS)
EDIT = ("prompt", "video", "model", "size", "strength", *SETTINGS)
EXTEND = ("prompt", "video", "seconds", "model", "size", "backward", *SETTINGS)


def shown(row: jobs.Row) -> JSONResponse:
    return JSONResponse(wire.video(row), headers=dict(office.made(row)))


@router.post("", summary="Create a video", openapi_extra=body("CreateVideo"))
async def create(http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    form = await forms.read_form(http, CREATE, desk.config.limits.field_bytes)
    digest = await forms.digest("create", form)
    if (row := await office.repeated(desk, caller, http, digest)) is not None:
        return shown(row)
    if "storyboard" in form:
        form.setdefault("prompt", "")
    order = await office.new_order(desk, "generate", form)
    if (board := form.get("storyboard")) is not None:
        take_storyboard(order, board, form)
    await take_characters(desk, caller, order, form.get("characters"))
    await office.take_reference(desk, order, form.get("input_reference"))
    return shown(await office.enqueue(desk, caller, order, http, digest))


def take_storyboard(order: office.Order, board: Any, form: forms.Form) -> None:
    """A film of many shots. Raises ApiError."""
    from longtake.errors import LongtakeError
    from longtake.storyboard import build_storyboard

    try:
        asked: dict[str, Any] = {name: order.extra[name] for name in ("seed", "fps") if name in form}
        asked |= {"size": form["size"]} if "size" in form else {}
        built = build_storyboard({**asked, **board} if isinstance(board, dict) else board)
    except LongtakeError as error:
        raise ApiError(400, str(error), "invalid_value", "storyboard") from None
    if any(person.references for person in built.characters):
        raise ApiError(
            400, "reference pictures come as characters, not as paths", "invalid_value", "storyboard"
        )
    order.extra["storyboard"] = built.model_dump(mode="json")
    if "seed" not in form:
        order.extra["seed"] = built.seed
    order.seconds = order.shown_seconds = built.seconds
    order.size = built.size


async def take_characters(desk: office.Desk, caller: Caller, order: office.Order, given: Any) -> None:
    """`characters`: ids, or objects with one. The first one's picture is where the film begins. Raises ApiError."""
    if given in (None, []):
        return
    ids = [
        one.get("id") if isinstance(one, dict) else one
        for one in (given if isinstance(given, list) else [given])
    ]
    if len(ids) > 2 or not all(isinstance(one, str) for one in ids):
        raise ApiError(400, "characters must be a list of at most two ids", "invalid_value", "characters")
    for id in ids:
        row = await character_row(desk, caller, str(id))
        if row["name"].casefold() not in order.prompt.casefold():
            order.prompt = f"{order.prompt}, with {row['name']}" if order.prompt else row["name"]
    await office.expect_files(desk, order.id)
    desk.storage.copy(f"{ids[0]}/picture.png", f"{order.id}/inputs/image.png")
    order.inputs["image"] = f"{order.id}/inputs/image.png"


@router.get("", summary="List videos")
async def list_videos(
    desk: TheDesk,
    caller: TheCaller,
    after: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> Response:
    rows, more = await office.attempt(
        desk.read(lambda c: jobs.page(c, caller.owner, after or None, limit, order == "desc"))
    )
    return JSONResponse(wire.page(rows, more))


@router.post("/edits", summary="Edit a video", openapi_extra=body("EditVideo"))
async def edit(http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    form = await forms.read_form(http, EDIT, desk.config.limits.field_bytes)
    digest = await forms.digest("edit", form)
    if (row := await office.repeated(desk, caller, http, digest)) is not None:
        return shown(row)
    order = await office.new_order(desk, "edit", form)
    if "strength" in form:
        order.extra["strength"] = forms.number(form, "strength")
    seconds, size = await office.take_video(desk, caller, order, form.get("video"))
    order.seconds = order.shown_seconds = seconds
    order.size = forms.text(form, "size", fitting(size))
    return shown(await office.enqueue(desk, caller, order, http, digest))


@router.post("/extensions", summary="Extend a video", openapi_extra=body("ExtendVideo"))
async def extend(http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    form = await forms.read_form(http, EXTEND, desk.config.limits.field_bytes)
    digest = await forms.digest("extend", form)
    if (row := await office.repeated(desk, caller, http, digest)) is not None:
        return shown(row)
    forms.number(form, "seconds")
    order = await office.new_order(desk, "extend", form)
    if forms.flag(form, "backward"):
        order.extra["backward"] = True
    length, size = await office.take_video(desk, caller, order, form.get("video"))
    order.shown_seconds = length + order.seconds
    order.size = forms.text(form, "size", fitting(size))
    return shown(await office.enqueue(desk, caller, order, http, digest))


def fitting(size: str) -> str:
    """The size of a given film, or the nearest that can be made."""
    width, height = map(int, size.split("x"))
    ratio = min(21 / 9, max(9 / 21, width / height))
    share = max(1.0, 128 / min(width, height))
    width, height = min(1920, round(width * share / 2) * 2), min(1920, round(height * share / 2) * 2)
    if width / height > ratio:
        width = int(height * ratio / 2) * 2
    elif width / height < ratio:
        height = int(width / ratio / 2) * 2
    return f"{width}x{height}"


@router.post("/characters", summary="Create a character", openapi_extra=body("CreateCharacter"))
async def create_character(http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    form = await forms.read_form(http, ("name", "video"), desk.config.limits.field_bytes)
    name = " ".join(forms.text(form, "name").split())
    if not 1 <= len(name) <= 80:
        raise ApiError(400, "a character's name has 1 to 80 characters", "invalid_value", "name")
    if not isinstance(form.get("video"), UploadFile):
        raise ApiError(400, "video must be a video file", "missing_required_parameter", "video")
    id = new_id("char")
    await office.expect_files(desk, id)
    await desk.intake.upload(form["video"], f"{id}/picture", ("character",), "video")
    values = {"id": id, "owner": caller.owner, "name": name, "created_at": time.time()}
    row = await desk.write(
        lambda c: c.execute(insert(characters).values(values).returning(characters)).mappings().one()
    )
    return JSONResponse(wire.character(row))


async def character_row(desk: office.Desk, caller: Caller, id: str) -> jobs.Row:
    query = select(characters).where(characters.c.id == id, characters.c.owner == caller.owner)
    row = await desk.read(lambda c: c.execute(query).mappings().first())
    if row is None:
        raise ApiError(404, f"there is no character {id!r}", "not_found", "character_id")
    return row


@router.get("/characters/{character_id}", summary="Retrieve a character")
async def get_character(character_id: str, desk: TheDesk, caller: TheCaller) -> Response:
    return JSONResponse(wire.character(await character_row(desk, caller, character_id)))


@router.get("/{video_id}", summary="Retrieve a video")
async def retrieve(video_id: str, desk: TheDesk, caller: TheCaller) -> Response:
    return shown(await office.attempt(desk.read(lambda c: jobs.get(c, caller.owner, video_id))))


@router.delete("/{video_id}", summary="Delete a video, and stop making it")
async def delete(video_id: str, desk: TheDesk, caller: TheCaller) -> Response:
    await office.attempt(desk.write(lambda c: jobs.remove(c, caller.owner, video_id)))
    return JSONResponse({"id": video_id, "deleted": True, "object": "video.deleted"})


@router.api_route(
    "/{video_id}/content", methods=["GET"], summary="Download a video, its thumbnail or sprite sheet"
)
async def content(
    video_id: str,
    http: HttpRequest,
    desk: TheDesk,
    caller: TheCaller,
    variant: Annotated[str, Query(max_length=32)] = "video",
) -> Response:
    if variant not in VARIANTS:
        raise ApiError(
            400, f"unknown variant {variant!r}; valid: {', '.join(VARIANTS)}", "invalid_value", "variant"
        )
    row = await office.completed(desk, caller, video_id)
    return await send_file(desk.storage, row, variant, http)


@router.post(
    "/{video_id}/remix", summary="Make a video again with other words", openapi_extra=body("RemixVideo")
)
async def remix(video_id: str, http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    form = await forms.read_form(http, ("prompt", "strength", *SETTINGS), desk.config.limits.field_bytes)
    digest = await forms.digest(f"remix {video_id}", form)
    if (row := await office.repeated(desk, caller, http, digest)) is not None:
        return shown(row)
    source = await office.completed(desk, caller, video_id)
    order = await office.new_order(desk, "edit", form, source)
    if "strength" in form:
        order.extra["strength"] = forms.number(form, "strength")
    office.check(_with_video(order))
    await office.take_film(desk, caller, order, video_id)
    order.remixed_from = video_id
    return shown(await office.enqueue(desk, caller, order, http, digest))


def _with_video(order: office.Order) -> office.Order:
    """The order as if its film were there already, to find its other faults first."""
    from dataclasses import replace

    return replace(order, inputs={"video": "given.mp4"})
