"""The web application: what each address answers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from lid_toolkit import __version__
from lid_toolkit.errors import LidError, nearest
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.policy import DecisionPolicy
from lid_toolkit.inference.prediction import Prediction, english_name
from lid_toolkit.serve.answer import answer
from lid_toolkit.serve.desk import Desk
from lid_toolkit.serve.limits import Limits, RefusedError
from lid_toolkit.serve.options import Options
from lid_toolkit.serve.page import Page, make_page
from lid_toolkit.serve.upload import FIELD, Body, read_upload

CLIENT_LEFT = 499
"""Status of a request whose client left before the answer; nobody receives it."""

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

BINARY = {"type": "string", "format": "binary"}
REQUEST_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": [FIELD], "properties": {FIELD: BINARY}}
        },
        "audio/*": {"schema": BINARY},
        "application/octet-stream": {"schema": BINARY},
    },
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "No audio, a broken form, or a wrong option"},
    403: {"description": "A page of another site asked"},
    408: {"description": "The upload took too long"},
    413: {"description": "Too many bytes, or too long"},
    415: {"description": "Not audio, or a format that is not supported"},
    422: {"description": "A damaged recording"},
    429: {"description": "Too many requests at a time; Retry-After says when to try again"},
}


def make_app(
    lid: LanguageIdentifier, policy: DecisionPolicy, name: str, limits: Limits, hosts: Sequence[str]
) -> FastAPI:
    """Return the application.

    Args:
        lid: the model.
        policy: when to answer, unless the options of a request say otherwise.
        name: what the page calls it.
        limits: what is accepted.
        hosts: names that the server answers to, in the header ``Host``: a page of another site that its
            owner points to this machine has another one.
    """
    desk = Desk(limits.workers, limits.waiting)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(
        title="Spoken language identification",
        version=__version__,
        docs_url=None,  # they load scripts from another site
        redoc_url=None,
        lifespan=life,
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    add_refusals(app, limits)
    add_information(app, lid, make_page(lid, name, limits), desk)
    add_identify(app, lid, policy, limits, desk)
    return app


def add_information(app: FastAPI, lid: LanguageIdentifier, page: Page, desk: Desk) -> None:
    """Add the page, and what the server says about itself and its model."""

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page.html, headers={**HEADERS, **page.headers})

    @app.get("/healthz")
    async def health() -> dict[str, str | int]:
        """Say that the server runs, and how many requests are not yet answered."""
        return {"status": "ok", "requests": desk.taken}

    @app.get("/languages")
    async def languages() -> list[dict[str, str | None]]:
        """List the labels of the model, in the order of its scores, with their English names."""
        return [{"language": label, "name": english_name(label)} for label in lid.languages]


def add_identify(
    app: FastAPI, lid: LanguageIdentifier, policy: DecisionPolicy, limits: Limits, desk: Desk
) -> None:
    """Add the address that identifies."""

    @app.post(
        "/identify",
        response_model=Prediction,
        responses={**REFUSALS},
        openapi_extra={"requestBody": REQUEST_BODY},
    )
    async def identify(request: Request, options: Annotated[Options, Query()]) -> Response:
        """Identify the language of a recording: the body, or the field `file` of a form."""
        body = Body(request, limits)
        try:
            require_own_page(request)
            arguments = options.arguments(policy)
            with desk.place():
                upload = await read_upload(request, body, limits)
                job = partial(answer, lid, upload, arguments, limits)
                record = await desk.compute(job, body.until_client_leaves())
        except LidError as error:
            await body.discard()
            raise RefusedError(400, str(error)) from None
        except RefusedError:
            await body.discard()
            raise
        return JSONResponse(record.as_dict(), headers=HEADERS)


def require_own_page(request: Request) -> None:
    """Refuse what a browser sends for a page of another site; programs send no ``Origin``.

    Raises:
        RefusedError: it is from another site (403).
    """
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise RefusedError(403, f"the page {origin:.100} may not use this server: open the server's own page")


def add_refusals(app: FastAPI, limits: Limits) -> None:
    """Answer errors with ``{"detail": SENTENCE}``."""

    @app.exception_handler(RefusedError)
    async def refuse(_: Request, error: RefusedError) -> Response:
        again = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return JSONResponse({"detail": error.sentence}, error.status, {**HEADERS, **again})

    @app.exception_handler(RequestValidationError)
    async def refuse_option(request: Request, error: RequestValidationError) -> Response:
        await Body(request, limits).discard()
        return await refuse(request, RefusedError(400, sentence_of(error.errors()[0])))

    @app.exception_handler(ClientDisconnect)
    async def leave(*_: object) -> Response:
        return Response(status_code=CLIENT_LEFT)

    @app.exception_handler(Exception)
    async def fail(*_: object) -> Response:
        return JSONResponse({"detail": "the server failed; its log says why"}, 500)


def sentence_of(problem: dict[str, Any]) -> str:
    """Return a problem that pydantic found in the query as one sentence."""
    name = str(problem["loc"][-1])
    if problem["type"] == "extra_forbidden":
        return f"unknown option '{name}' ({nearest(name, Options.model_fields)})"
    what = problem["msg"].replace("Input should be", "must be")
    return f"{name}: {what[:1].lower()}{what[1:]}, not {problem['input']!r:.40}"
