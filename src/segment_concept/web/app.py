"""The routes of the page, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

from segment_concept.web.edits import DrawMask, prompt_of
from segment_concept.web.facts import (
    all_shown,
    explain_json,
    shots_json,
    strips_json,
    timeline_bytes,
    timeline_of,
)
from segment_concept.web.guard import Access, Guard
from segment_concept.web.opened import MissingError, OpenProject
from segment_concept.web.replies import BINARY, add_error_handlers, number, static_file, text
from segment_concept.web.wire import (
    EditBody,
    ExportBody,
    JobBody,
    LookBody,
    NewProject,
    Nothing,
    PreviewBody,
    StepBody,
    UploadBody,
)
from segment_concept.web.workspace import Workspace

API = "/api/v1"
PROJECT = API + "/projects/{p}"
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
EVENTS = {"cache-control": "no-store", "x-accel-buffering": "no"}
STILLS = {"160": 160, "480": 480, "full": 0}


def make_app(workspace: Workspace, access: Access) -> Guard:
    """The application (ASGI) with everything that protects it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await workspace.start()
        yield
        await workspace.stop()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    add_error_handlers(app)
    _add_entrance(app, workspace, access)
    _add_video(app, workspace)
    _add_results(app, workspace)
    _add_changing(app, workspace)
    _add_work(app, workspace)
    app.add_api_route("/{name:path}", static_file, methods=["GET"])
    return Guard(app, access, workspace.settings.limits)


def _add_entrance(app: FastAPI, workspace: Workspace, access: Access) -> None:
    @app.post(API + "/session")
    async def session(_: Nothing) -> Response:
        from segment_concept import __version__

        reply = JSONResponse({"ok": True, "version": __version__})
        cookie = {"httponly": True, "samesite": "strict", "path": "/"}
        reply.set_cookie(access.cookie_name, access.new_cookie(), **cookie)  # type: ignore[arg-type]
        return reply

    @app.get(API + "/files")
    async def files(path: str = "") -> Any:
        return workspace.files(path)

    @app.get(API + "/projects")
    async def projects() -> Any:
        return workspace.list_json()

    @app.post(API + "/projects")
    async def new_project(body: NewProject) -> Any:
        return workspace.json(await workspace.open(body))

    @app.post(API + "/uploads", status_code=201)
    async def new_upload(body: UploadBody) -> Any:
        id_, upload = workspace.uploads.begin(body.name, body.size)
        piece = workspace.settings.limits.piece_bytes
        return {"id": id_, "offset": upload.offset, "piece": piece}

    @app.head(API + "/uploads/{u}")
    async def upload_state(u: str) -> Response:
        found = workspace.uploads.find(u)
        sizes = {"upload-offset": str(found.offset), "upload-length": str(found.size)}
        return Response(headers=sizes)

    @app.patch(API + "/uploads/{u}")
    async def upload_piece(u: str, request: Request) -> Response:
        offset = number(request.headers.get("upload-offset"), "Upload-Offset")
        found = workspace.uploads.append(u, offset, await request.body())
        return Response(status_code=204, headers={"upload-offset": str(found.offset)})


def _add_video(app: FastAPI, workspace: Workspace) -> None:
    @app.get(PROJECT)
    async def project(p: str) -> Any:
        return workspace.json(workspace.find(p))

    @app.get(PROJECT + "/video")
    async def video(p: str) -> Response:
        found = workspace.find(p)
        if found.mime is None or not found.video_path.is_file():
            raise MissingError("there is no file that a browser could play")
        headers = {"cache-control": "private"}
        return FileResponse(found.video_path, media_type=found.mime, headers=headers)

    @app.get(PROJECT + "/table")
    async def table(p: str, request: Request) -> Response:
        found = workspace.find(p)
        first = number(request.query_params.get("from", "0"), "from")
        facts = found.table_json()
        headers = {
            "x-known": str(facts["known"]),
            "x-complete": str(int(facts["complete"])),
            "x-version": str(facts["version"]),
        }
        return Response(found.table_bytes(first), media_type=BINARY, headers=headers)

    @app.get(PROJECT + "/frames/{name}")
    async def still(p: str, name: str, request: Request, w: str = "full") -> Response:
        found = workspace.find(p)
        if w not in STILLS or not name.endswith(".jpg"):
            raise MissingError("stills are frames/NUMBER.jpg with w=160, 480 or full")
        index = number(name.removesuffix(".jpg"), "a frame")
        tag = f'"{found.folder.header["hash"][:16]}-{index}-{w}"'
        headers = {"etag": tag} | FOREVER
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        content = await found.still(index, STILLS[w])
        return Response(content, media_type="image/jpeg", headers=headers)


def _add_results(app: FastAPI, workspace: Workspace) -> None:
    @app.get(PROJECT + "/masks/{i}")
    async def masks(p: str, i: str, v: str | None = None) -> Response:
        content = workspace.find(p).masks(number(i, "a frame"))
        return Response(content, media_type=BINARY, headers=FOREVER if v else {})

    @app.get(PROJECT + "/timeline")
    async def timeline(p: str, request: Request) -> Response:
        found, query = workspace.find(p), request.query_params
        object_id, first = number(query.get("object"), "object"), number(query.get("from", "0"))
        if object_id not in found.project.objects:
            raise MissingError(f"there is no object {object_id}")
        last = min(number(query.get("to", str(found.frames - 1))), found.frames - 1)
        content = timeline_bytes(found.project, object_id, first, max(first - 1, last))
        return Response(content, media_type=BINARY)

    @app.get(PROJECT + "/shots")
    async def shots(p: str) -> Any:
        found = workspace.find(p)
        shown = all_shown(found.project)
        timeline = timeline_of(found.project, shown)
        return await asyncio.to_thread(shots_json, shown, timeline, found.frames)

    @app.get(PROJECT + "/strips")
    async def strips(p: str) -> Any:
        found = workspace.find(p)
        return strips_json(found.project, found.seconds)

    @app.get(PROJECT + "/explain/{i}")
    async def explain(p: str, i: str) -> Any:
        found, frame = workspace.find(p), number(i, "a frame")
        found.check_frame(frame)
        return explain_json(found.project, frame, float(found.seconds[frame]))

    @app.get(PROJECT + "/events")
    async def events(p: str, request: Request, after: str | None = None) -> Response:
        found = workspace.find(p)
        start = request.headers.get("last-event-id") or after
        stream = found.events.stream(start, workspace.page_left)
        return StreamingResponse(stream, media_type="text/event-stream", headers=EVENTS)


def _add_changing(app: FastAPI, workspace: Workspace) -> None:
    def changed(p: str, change: Callable[[OpenProject], dict[str, Any]]) -> dict[str, Any]:
        found = workspace.find(p)
        reply = change(found)
        workspace.tracking.edited(found)
        return reply

    @app.post(PROJECT + "/edits")
    async def edit(p: str, body: EditBody) -> Any:
        return changed(p, lambda found: found.edit(body.op, body.rev, body.edit))

    @app.put(PROJECT + "/masks/{i}")
    async def draw(p: str, i: str, request: Request) -> Any:
        query, runs = request.query_params, await request.body()
        object_id = number(query.get("object"), "object", least=1, most=255)
        mask = DrawMask(object_id, number(i, "a frame"))
        op, rev = text(query.get("op"), "op"), number(query.get("rev"), "rev")
        return changed(p, lambda found: found.draw(op, rev, mask, runs))

    @app.post(PROJECT + "/undo")
    async def undo(p: str, body: StepBody) -> Any:
        return changed(p, lambda found: found.step("undo", body.op, body.rev))

    @app.post(PROJECT + "/redo")
    async def redo(p: str, body: StepBody) -> Any:
        return changed(p, lambda found: found.step("redo", body.op, body.rev))

    @app.post(PROJECT + "/close")
    async def close(p: str, _: Nothing) -> Any:
        await workspace.close(workspace.find(p).id)
        return {}


def _add_work(app: FastAPI, workspace: Workspace) -> None:
    @app.post(PROJECT + "/look", status_code=202)
    async def look(p: str, body: LookBody) -> Any:
        workspace.tracking.prompts.look(workspace.find(p), body.frame)
        return {}

    @app.post(PROJECT + "/preview")
    async def preview(p: str, body: PreviewBody, request: Request) -> Response:
        found = workspace.find(p)
        found.check_frame(body.frame)
        prompt = prompt_of(body.object or 0, body.frame, body.points, body.box)
        gone: Callable[[], Awaitable[bool]] = request.is_disconnected
        content = await workspace.tracking.prompts.preview(found, prompt, gone)
        return Response(content, media_type=BINARY)

    @app.post(PROJECT + "/jobs")
    async def new_job(p: str, body: JobBody) -> Any:
        return workspace.tracking.track(workspace.find(p), body)

    @app.delete(PROJECT + "/jobs/{j}")
    async def stop_job(p: str, j: str) -> Any:
        return workspace.tracking.stop_job(workspace.find(p), j)

    @app.post(PROJECT + "/exports")
    async def new_export(p: str, body: ExportBody) -> Any:
        return workspace.tracking.export(workspace.find(p), body.formats, body.range)

    @app.get(PROJECT + "/exports")
    async def exports(p: str) -> Any:
        return {"exports": [e.json() for e in workspace.tracking.exports(workspace.find(p))]}

    @app.get(PROJECT + "/exports/{e}")
    async def export(p: str, e: str) -> Any:
        return workspace.tracking.find_export(workspace.find(p), e).json()

    @app.get(PROJECT + "/exports/{e}/files/{name}")
    async def export_file(p: str, e: str, name: str) -> Response:
        path = workspace.tracking.find_export(workspace.find(p), e).file(name)
        return FileResponse(path, media_type=BINARY, filename=path.name)
