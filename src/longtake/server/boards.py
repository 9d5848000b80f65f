"""Storyboards over HTTP, under /v1/longtake: written from a prompt, checked, repaired, read back from a film, and one
shot made again."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from longtake.errors import LongtakeError, RequestError
from longtake.server import desk as office
from longtake.server import forms, jobs
from longtake.server.desk import SETTINGS, TheCaller, TheDesk
from longtake.server.openapi import ERRORS, body
from longtake.server.store import new_id
from longtake.server.videos import shown
from longtake.server.wire import ApiError
from longtake.storyboard import Storyboard, build_storyboard

router = APIRouter(prefix="/v1/longtake", tags=["storyboards"], responses=ERRORS)
_FIELD = re.compile(r"^storyboard: ([\w.\[\]]+): ")
DIRECT = ("prompt", "seconds", "size", "fps", "seed", "one_take", "model", "director")


@router.post("/storyboards", summary="Direct a prompt", openapi_extra=body("DirectStoryboard"))
async def direct(http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    form = await forms.read_form(http, DIRECT, desk.config.limits.field_bytes)
    form.setdefault("size", "1280x720")
    order = await office.new_order(desk, "generate", form)
    asked = office.check(order)
    there = desk.config.director != "rules"
    director = forms.text(form, "director", "endpoint" if there else "rules")
    if director not in ("rules", "endpoint") or (director == "endpoint" and not there):
        words = "director: this server has only the rules; start it with --director URL for another"
        if there:
            words = "director is rules or endpoint"
        raise ApiError(400, words, "invalid_value", "director")
    values = {
        "prompt": asked["prompt"], "seconds": order.seconds if "seconds" in form else None, "size": asked["size"],
        "fps": asked.get("fps", 24), "seed": asked["seed"], "one_take": asked.get("one_take", False),
    }  # fmt: skip
    made = await desk.drafts.direct(values, order.model, director == "endpoint")
    return JSONResponse({"object": "storyboard", **made})


@router.post(
    "/storyboards/check", summary="Whether a board can be filmed", openapi_extra=body("CheckStoryboard")
)
async def check(http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    form = await _board_form(http, desk, ("storyboard",))
    board = await run_in_threadpool(read_board, form.get("storyboard"))
    return JSONResponse({"object": "storyboard", "board": board.model_dump(mode="json")})


@router.post(
    "/storyboards/repair",
    summary="Mend what makes a board a worse film",
    openapi_extra=body("RepairStoryboard"),
)
async def repair(http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    form = await _board_form(http, desk, ("storyboard", "seconds"))
    board = await run_in_threadpool(read_board, form.get("storyboard"))
    seconds = forms.number(form, "seconds") if "seconds" in form else None
    return JSONResponse(
        {"object": "storyboard", **await desk.drafts.repair(board.model_dump(mode="json"), seconds)}
    )


async def _board_form(http: HttpRequest, desk: office.Desk, known: tuple[str, ...]) -> forms.Form:
    """A body that holds a board. Raises ApiError when it is larger than any board."""
    most = desk.config.limits.field_bytes
    if len(await http.body()) > most:
        raise ApiError(413, f"a storyboard has at most {most} bytes", "body_too_large", "storyboard")
    return await forms.read_form(http, known, most)


def read_board(given: Any) -> Storyboard:
    """A board from what a client sent. Raises ApiError that names the field: storyboard.shots[2].duration."""
    if given is None:
        words = "missing required parameter: storyboard"
        raise ApiError(400, words, "missing_required_parameter", "storyboard")
    try:
        board = build_storyboard(given)
        json.dumps(board.model_dump(mode="json"), ensure_ascii=False).encode()  # half a surrogate is no text
    except LongtakeError as error:
        field = _FIELD.match(str(error))
        name = f"storyboard.{field[1]}" if field else "storyboard"
        raise ApiError(400, str(error), "invalid_value", name) from None
    except UnicodeEncodeError:
        words = "the storyboard holds characters that are no text"
        raise ApiError(400, words, "invalid_value", "storyboard") from None
    for number, person in enumerate(board.characters):
        if person.references:
            words = "reference pictures are paths, which a server does not read; leave them out"
            raise ApiError(400, words, "invalid_value", f"storyboard.characters[{number}].references")
    return board


@router.get("/videos/{video_id}/storyboard", summary="The storyboard a video is made from")
async def of_video(video_id: str, desk: TheDesk, caller: TheCaller) -> Response:
    row = await office.attempt(desk.read(lambda c: jobs.get(c, caller.owner, video_id)))
    board = board_of(row)
    return JSONResponse({"object": "storyboard", "board": board.model_dump(mode="json")})


def board_of(row: jobs.Row) -> Storyboard:
    """The board of a job: the one it was given, or the one the director made for it. Raises ApiError."""
    board = json.loads(row["request"]).get("storyboard") or json.loads(row["result"] or "{}").get(
        "storyboard"
    )
    if not board:
        words = "this video has no storyboard: it was made from a video, or is not finished"
        raise ApiError(404, words, "not_found", "video_id")
    return build_storyboard(board)


@router.post(
    "/videos/{video_id}/remake",
    summary="Make one shot of a video again, or the video from a changed board",
    openapi_extra=body("RemakeVideo"),
)
async def remake(video_id: str, http: HttpRequest, desk: TheDesk, caller: TheCaller) -> Response:
    """Shots that did not change stay as they are, and are not sampled again while they are kept."""
    form = await forms.read_form(http, ("shot", "seed", "storyboard"), desk.config.limits.field_bytes)
    digest = await forms.digest(f"remake {video_id}", form)
    if (row := await office.repeated(desk, caller, http, digest)) is not None:
        return shown(row)
    source = await office.completed(desk, caller, video_id)
    board = board_of(source)
    if "storyboard" in form:
        board = await run_in_threadpool(read_board, form["storyboard"])
    order = await _again(desk, source, _retaken(board, form))
    order.remixed_from = order.shots_of = video_id
    return shown(await office.enqueue(desk, caller, order, http, digest))


def _retaken(board: Storyboard, form: forms.Form) -> Storyboard:
    seed: int | None = None
    if "seed" in form:
        number = forms.number(form, "seed")
        if not number.is_integer() or not 0 <= number < 2**32:
            raise ApiError(400, f"seed must be 0 to {2**32 - 1}, not {number:g}", "invalid_value", "seed")
        seed = int(number)
    try:
        if "shot" in form:
            return board.retake(forms.text(form, "shot"), seed)
        return board if seed is None else board.reseeded(seed)
    except RequestError as error:
        raise ApiError(400, str(error), "invalid_value", "shot") from None


async def _again(desk: office.Desk, source: jobs.Row, board: Storyboard) -> office.Order:
    """The job of a finished film once more, from another board. Raises ApiError."""
    request = json.loads(source["request"])
    if request.get("task") != "generate":
        raise ApiError(
            400, "only a film made from words or a board can be remade", "invalid_value", "video_id"
        )
    extra = {name: request[name] for name in SETTINGS if name in request}
    extra |= {"seed": board.seed, "fps": board.fps, "storyboard": board.model_dump(mode="json")}
    order = office.Order(
        id=new_id("video"), task="generate", prompt=source["prompt"], seconds=board.seconds,
        shown_seconds=board.seconds, size=board.size, model=source["model"], inputs={}, extra=extra,
    )  # fmt: skip
    office.check(order)
    if request["inputs"]:
        await office.expect_files(desk, order.id)
    for field, name in request["inputs"].items():
        order.inputs[field] = f"{order.id}/inputs/{name.rpartition('/')[2]}"
        await run_in_threadpool(desk.storage.copy, name, order.inputs[field])
    return order
