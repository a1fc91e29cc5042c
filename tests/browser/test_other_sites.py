"""What pages of other sites cannot do, with a service on this machine and with somebody's session."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import Page, Response, expect

from tests.browser.conftest import OpenPage, log_in
from tests.support.chromium import REBINDING
from tests.support.marked_videos import make_marked
from tests.support.serving import Web
from videoqueue.jobs.keys import KeyStore

#: JavaScript: sends a video as a page may that is allowed no response. Returns whether it got one.
FETCH = """([url, bytes]) => {
  const body = new FormData();
  body.append('file', new Blob([new Uint8Array(bytes)], {type: 'video/mp4'}), 'x.mp4');
  const options = {method: 'POST', mode: 'no-cors', credentials: 'include', body};
  return fetch(url, options).then(() => true, () => false);
}"""
#: JavaScript: the same by a form, which needs no script to be allowed.
FORM = """([url, bytes]) => {
  const form = document.createElement('form');
  Object.assign(form, {method: 'POST', enctype: 'multipart/form-data', action: url});
  const field = Object.assign(document.createElement('input'), {type: 'file', name: 'file'});
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], 'x.mp4', {type: 'video/mp4'}));
  field.files = files.files;
  form.append(field);
  document.body.append(form);
  form.submit();
}"""
DELETE = """(url) => fetch(url, {method: 'DELETE', credentials: 'include'}).then(() => true, () => false)"""


class _Elsewhere(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body>")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """The port of a web server with a page of somebody else."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    return list(make_marked(tmp_path_factory.mktemp("video") / "x.mp4", 3).read_bytes())


def _submitted_by_form(page: Page, url: str, video: list[int]) -> Response:
    with page.expect_response(url) as answer:
        page.evaluate(FORM, [url, video])
    return answer.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # the same site at another port, and another one
def test_a_page_of_another_origin_cannot_submit(
    web: Web, open_page: OpenPage, elsewhere: int, video: list[int], host: str
) -> None:
    submit = f"{web.url}/video/submit"
    page = open_page(f"http://{host}:{elsewhere}/")
    assert not page.evaluate(FETCH, [submit, video])
    assert _submitted_by_form(page, submit, video).status == 403
    expect(page.locator("body")).to_contain_text('"code": "cross_site"')
    assert web.rows() == []

    page.goto(web.url)
    assert page.evaluate(FETCH, [submit, video])
    assert len(web.rows()) == 1


def test_a_name_that_somebody_points_at_this_machine_gets_421(web: Web, open_page: OpenPage) -> None:
    port = web.address[1]
    page = open_page(f"http://{REBINDING}:{port}/")
    expect(page.locator("#failure-text")).to_contain_text("not known by the name in the header Host")
    for path in ("/jobs", "/pipelines", "/ui/session"):
        assert page.evaluate("(path) => fetch(path).then((answer) => answer.status)", path) == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_cannot_use_the_session(
    closed: Web, open_page: OpenPage, elsewhere: int, video: list[int], host: str
) -> None:
    closed.clear()
    _, token = KeyStore(closed.engine).create("anna", frozenset({"submit"}))
    submit = f"{closed.url}/video/submit"
    page = open_page(closed.url)
    log_in(page, token)
    expect(page.locator("#owner")).to_have_text("anna")
    assert page.evaluate(FETCH, [submit, video])
    (job,) = closed.rows()

    page.goto(f"http://{host}:{elsewhere}/")
    assert not page.evaluate(FETCH, [submit, video])
    assert not page.evaluate(DELETE, f"{closed.url}/jobs/{job.job_id}")
    # Where the site is the same, the browser sends the cookie; otherwise the request has no key.
    assert _submitted_by_form(page, submit, video).status == (403 if host == "127.0.0.1" else 401)
    assert [row.job_id for row in closed.rows()] == [job.job_id]
