# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, status, events and cancel of recovery runs over HTTP.

The service keeps nothing: a run is found by its id in the folder of the journals, so that one that was started before
the service was restarted is as good as any other. It uses nothing but the public API of platform_recovery.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import platform_recovery as pr

from .settings import Settings
from .wishes import CANCEL, BadWish, Problem, check, run_wishes

LARGEST_BODY = 64 * 1024
# Proxies close what is silent for a minute.
KEEP_ALIVE_SECONDS = 15.0
CODES = {1: 422, 4: 409}


def create(settings: Settings) -> Starlette:
    """Make the application."""
    app = Starlette(
        routes=[
            Route("/runs", start, methods=["POST"]),
            Route("/runs/{run_id}", status, methods=["GET"]),
            Route("/runs/{run_id}/events", events, methods=["GET"]),
            Route("/runs/{run_id}/cancel", cancel, methods=["POST"]),
        ],
        middleware=[Middleware(BearerToken, token=settings.token)],
        exception_handlers={
            BadWish: _bad_wish,
            pr.WrongCall: _wrong_call,
            pr.NotOpened: _not_opened,
            HTTPException: _http,
        },
    )
    app.state.settings = settings
    return app


class BearerToken:
    """Lets in who knows the token; how long a wrong one takes tells nothing of the right one."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] == "http":
            given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not hmac.compare_digest(given, self._wanted):
                answer = _failure("the bearer token is missing or wrong", "send it as Authorization: Bearer TOKEN")
                denied = JSONResponse(answer, 401, headers={"WWW-Authenticate": "Bearer"})
                await denied(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def start(request: Request) -> Response:
    """POST /runs: start a run, or resume the one whose run_id is given."""
    settings: Settings = request.app.state.settings
    wishes = run_wishes(await _body(request), list(settings.playbooks))
    playbook = settings.playbooks[wishes.pop("playbook")]

    def launch() -> tuple[pr.AttachedRun, dict[str, Any]]:
        run = pr.launch(playbook, inventory=settings.inventory, cwd=settings.folder, **wishes)
        return run, _told(run)

    run, told = await run_in_threadpool(launch)
    return JSONResponse(told, 201, headers={"Location": f"/runs/{run.id}"})


def status(request: Request) -> Response:
    """GET /runs/{id}: how it stands, and its report once it is over."""
    run = _find(request)
    told = _told(run)
    report = None if told["state"] == "running" else run.wait().report
    return JSONResponse({**told, "report": report})


async def events(request: Request) -> Response:
    """GET /runs/{id}/events: server-sent events, from the first or behind Last-Event-ID, until the run is over.

    204 says that nothing comes any more, upon which a browser's EventSource stops asking.
    """
    run = await run_in_threadpool(_find, request)
    text = request.headers.get("last-event-id", "0")
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise BadWish([Problem("Last-Event-ID", text, "the id of the last event that was received, a whole number")])
    after = int(text)
    if await run_in_threadpool(_all_told, run, after):
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_lines(run.events_async(after)), media_type="text/event-stream", headers=headers)


async def cancel(request: Request) -> Response:
    """POST /runs/{id}/cancel: end the run and everything that it started; names what could not be ended."""
    run = await run_in_threadpool(_find, request)
    wishes = check(await _body(request, empty={}), CANCEL)
    try:
        ended = await run_in_threadpool(run.cancel, wishes.get("reason", "cancelled over HTTP"))
    except pr.WrongCall as error:
        return JSONResponse(_failure(error.message, error.next_action), 409)
    return JSONResponse({"run_id": run.id, **asdict(ended)})


def _all_told(run: pr.AttachedRun, after: int) -> bool:
    return not run.running and next(run.events(after), None) is None


async def _lines(told: AsyncIterator[pr.Event]) -> AsyncIterator[str]:
    """Spell events for the wire, and a comment where there is none for long."""
    coming: asyncio.Future[pr.Event] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(told))
            if not (await asyncio.wait([coming], timeout=KEEP_ALIVE_SECONDS))[0]:
                yield ": still going on\n\n"
                continue
            try:
                event, coming = coming.result(), None
            except StopAsyncIteration:
                return
            body = {"seq": event.seq, "time": event.time, "run_id": event.run_id, "data": event.data}
            yield f"id: {event.seq}\nevent: {event.event}\ndata: {json.dumps(body, default=str)}\n\n"
    finally:
        if coming:
            coming.cancel()


def _find(request: Request) -> pr.AttachedRun:
    settings: Settings = request.app.state.settings
    try:
        return pr.attach(request.path_params["run_id"], cwd=settings.folder)
    except pr.WrongCall as error:
        raise HTTPException(404, error.message) from None


def _told(run: pr.AttachedRun) -> dict[str, Any]:
    told = asdict(run.status())
    del told["folder"], told["pid"]  # of this machine, and none of the caller's business
    return told


async def _body(request: Request, empty: Any = None) -> Any:
    """Read a JSON body that is not too large."""
    read = b""
    async for part in request.stream():
        read += part
        if len(read) > LARGEST_BODY:
            raise HTTPException(413, f"a body of {LARGEST_BODY} bytes at most")
    if not read and empty is not None:
        return empty
    try:
        return json.loads(read)
    except ValueError:
        raise BadWish([Problem("", read[:80].decode(errors="replace"), "a JSON object")]) from None


def _failure(message: str, next_action: str | None = None) -> dict[str, Any]:
    return {"message": message, "next_action": next_action}


def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse(_failure(error.detail), error.status_code, headers=error.headers)


def _bad_wish(_request: Request, error: Exception) -> Response:
    assert isinstance(error, BadWish)
    words = _failure("the request was wrong; nothing was started")
    return JSONResponse({**words, "problems": [asdict(problem) for problem in error.problems]}, 422)


def _wrong_call(_request: Request, error: Exception) -> Response:
    assert isinstance(error, pr.WrongCall)
    return JSONResponse(_failure(error.message, error.next_action), CODES.get(error.exit_code, 422))


def _not_opened(_request: Request, error: Exception) -> Response:
    assert isinstance(error, pr.NotOpened)
    action = next(iter(error.result.next_actions), None)
    return JSONResponse(_failure(str(error), action), CODES.get(error.result.exit_code, 500))
