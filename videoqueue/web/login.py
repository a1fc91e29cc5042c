"""Login with a key, logout, and who is logged in.

A login makes a session: a random token in a cookie that scripts cannot read.
"""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, after_this_request, jsonify, request

from videoqueue import audit
from videoqueue.api.auth import caller, current_authenticator
from videoqueue.api.authenticator import SESSION_COOKIE, Caller
from videoqueue.api.browser import require_same_site
from videoqueue.api.operations import ALWAYS, DATABASE, Operation, operation
from videoqueue.api.problems import ApiError
from videoqueue.api.refusals import closing
from videoqueue.jobs.sessions import SESSION_SECONDS
from videoqueue.web.page import open_operation

blueprint = Blueprint("login", __name__, url_prefix="/ui")

#: The maximum size of the body of a login; bytes.
_MAX_BODY: Final = 4096


@blueprint.get("/session")
@operation(
    Operation(
        scope="read",
        summary="Get who is logged in",
        description="",
        responses={},
        problems=(*DATABASE, *ALWAYS),
        is_documented=False,
    )
)
def session() -> Response:
    """Returns who makes the request, and whether by a session, which can be ended."""
    by = caller()
    return _described(by, SESSION_COOKIE in request.cookies and by.key_id is not None)


@blueprint.post("/login")
@operation(open_operation("Log in"))
def login() -> Response:
    """Makes a session of the key in the body, `{"key": "..."}`, and returns it in a cookie.

    Raises:
        ApiError: `invalid_parameter`, `unauthorized`, `forbidden` or `cross_site`.
        DatabaseUnavailableError: the database cannot be used.
    """
    _close_unless_read()
    require_same_site(request)
    known = current_authenticator()
    by = known.owner_of_key(_key_in_body(), request)
    if "read" not in by.scopes:
        raise ApiError(
            "forbidden", "This key may not read jobs. Log in with a key of the scope submit or read."
        )
    assert by.key_id is not None
    token = known.sessions.create(by.key_id)
    _end_session()
    audit.record("session_created", key_id=by.key_id, owner=by.owner)
    response = _described(by, True)
    response.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=SESSION_SECONDS,
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response


@blueprint.post("/logout")
@operation(open_operation("Log out"))
def logout() -> Response:
    """Ends the session of the cookie, if there is one. Returns 204.

    Raises:
        ApiError: `cross_site`.
        DatabaseUnavailableError: the database cannot be used.
    """
    _close_unless_read()
    require_same_site(request)
    _end_session()
    response = Response(status=204, headers=closing(request))
    del response.headers["Content-Type"]
    response.delete_cookie(SESSION_COOKIE, secure=request.is_secure, httponly=True, samesite="Lax")
    return response


def _end_session() -> None:
    if token := request.cookies.get(SESSION_COOKIE):
        current_authenticator().sessions.end(token)


def _close_unless_read() -> None:
    """Closes the connection after an error, because the body may not have been read."""

    @after_this_request
    def close(response: Response) -> Response:
        if response.status_code >= 400:
            response.headers["Connection"] = "close"
        return response


def _key_in_body() -> str:
    request.max_content_length = _MAX_BODY
    if (request.content_length or 0) > _MAX_BODY:
        raise ApiError("invalid_parameter", f"The body of a login has at most {_MAX_BODY} bytes.")
    body = request.get_json(force=True, silent=True)
    key = body.get("key") if isinstance(body, dict) else None
    if not isinstance(key, str):
        raise ApiError("invalid_parameter", 'The body takes a key as JSON: {"key": "vq_..."}.')
    return key.strip()


def _described(by: Caller, has_session: bool) -> Response:
    response = jsonify(owner=by.owner, scopes=sorted(by.scopes), has_session=has_session)
    response.headers["Cache-Control"] = "no-store"
    return response
