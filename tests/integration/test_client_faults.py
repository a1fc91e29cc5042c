"""The Python client behind a network that cuts, delays and refuses, and a real web process."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import hypothesis
import pytest
import requests
from hypothesis import strategies as st

from tests.support.serving import Web
from tests.support.tcp_faults import Fault
from tests.support.tcp_proxy import TcpProxy
from tests.support.videos import make_video
from videoqueue.client import Client, ClientError
from videoqueue.client import attempts as pauses
from videoqueue.jobs.results import encode
from videoqueue.pipeline.results import FrameItem, TextBlock


def item(index: int) -> FrameItem:
    """An item whose text cannot be compressed well."""
    text = sha256(str(index).encode()).hexdigest()
    block: TextBlock = {"text": text, "confidence": 0.9, "box": [0, 0, 1, 1]}
    return {"frame_index": index, "result": {"timestamp": index / 10, "text": text, "text_blocks": [block]}}


ITEMS = [item(index) for index in range(40)]


def refusal(status: int) -> Fault:
    """What a proxy sends, or the service when it is at a limit."""
    return Fault(response=f"HTTP/1.1 {status} X\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".encode())


REFUSALS = [refusal(status) for status in (429, 502, 503, 504)]


@pytest.fixture(scope="module")
def proxy(shared_web: Web) -> Iterator[TcpProxy]:
    with TcpProxy(shared_web.address) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4")


@pytest.fixture(scope="module", autouse=True)
def short_pauses() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pauses, "_FIRST", 0.001)
        yield


def behind(proxy: TcpProxy, *faults: Fault, retry_seconds: float = 60, timeout: float = 60) -> Client:
    """A client whose connections have these faults, in turn."""
    proxy.faults.clear()
    proxy.faults.extend(faults)
    return Client(f"http://127.0.0.1:{proxy.port}", "", retry_seconds=retry_seconds, timeout=timeout)


def any_fault(size: int) -> st.SearchStrategy[Fault]:
    """A cut in each phase of a submission, or a refusal."""
    in_request = st.integers(0, size + 600).map(lambda count: Fault(request=count))
    in_body = st.integers(600, size).map(lambda count: Fault(request=count, gently=True))
    in_response = st.builds(Fault, response_after=st.integers(0, 700), gently=st.booleans())
    return st.one_of(in_request, in_body, in_response, st.sampled_from(REFUSALS))


def test_there_is_one_job_for_one_submission_whatever_is_cut(
    shared_web: Web, proxy: TcpProxy, video: Path
) -> None:
    shared_web.clear()
    jobs: set[str] = set()

    @hypothesis.settings(max_examples=60, database=None, derandomize=True)
    @hypothesis.given(st.lists(any_fault(video.stat().st_size), min_size=1, max_size=3))
    @hypothesis.example([Fault(request=0)])
    @hypothesis.example([Fault(request=100)])
    @hypothesis.example([Fault(request=video.stat().st_size)])
    @hypothesis.example([Fault(request=video.stat().st_size, gently=True)])
    @hypothesis.example([Fault(response_after=0)])
    @hypothesis.example([Fault(response_after=0, gently=True)])
    @hypothesis.example([Fault(response_after=20, gently=True)])
    @hypothesis.example([Fault(response_after=60, gently=True)])
    @hypothesis.example(REFUSALS)
    def submit(faults: list[Fault]) -> None:
        with behind(proxy, *faults) as client:
            jobs.add(client.submit(video))
        assert {str(row.job_id) for row in shared_web.rows()} == jobs

    submit()
    assert len(jobs) > 50


def test_a_retry_whose_response_is_cut_makes_one_new_job(web: Web, proxy: TcpProxy, video: Path) -> None:
    with behind(proxy) as client:
        failed = client.submit(video)
    web.fail(failed)
    with behind(proxy, Fault(response_after=0), Fault(response_after=50, gently=True)) as client:
        again = client.retry(failed)
    assert {str(row.job_id) for row in web.rows()} == {failed, again}


def test_a_deletion_whose_response_is_cut_is_done_and_no_error(
    web: Web, proxy: TcpProxy, video: Path
) -> None:
    with behind(proxy) as client:
        job_id = client.submit(video)
    with behind(proxy, Fault(response_after=0)) as client:
        client.delete(job_id)
        assert web.rows() == []
        with pytest.raises(ClientError) as refused:
            client.delete(job_id)
    assert refused.value.code == "job_not_found"


def test_a_response_that_never_comes_is_given_up_and_the_request_sent_again(
    web: Web, proxy: TcpProxy, video: Path
) -> None:
    found: list[str] = []
    with behind(proxy, timeout=1) as client, proxy.eating_replies():
        thread = threading.Thread(target=lambda: found.append(client.submit(video)))
        thread.start()
        proxy.await_eaten()
    thread.join(30)
    assert found == [str(row.job_id) for row in web.rows()]


def test_results_that_are_cut_anywhere_are_whole_in_the_end(
    web: Web, proxy: TcpProxy, tmp_path: Path
) -> None:
    job_id = web.completed(encode(ITEMS))
    whole = requests.get(f"{web.url}/video/results/{job_id}", timeout=10).content
    csv = requests.get(f"{web.url}/jobs/{job_id}/export?format=csv", timeout=10).content
    file = tmp_path / "out"
    for count in range(0, 1600, 50):
        with behind(proxy, Fault(response_after=count, gently=True)) as client:
            client.save_results(job_id, file)
        assert file.read_bytes() == whole, count
    for count in (0, 30, 200, 900):
        cut = Fault(response_after=count, gently=True)
        with behind(proxy, cut, cut) as client:
            assert list(client.frames(job_id, page_size=7)) == ITEMS
        with behind(proxy, cut, cut) as client:
            assert client.results(job_id)["results"] == ITEMS
        output = io.BytesIO()
        with behind(proxy, cut, refusal(503), cut) as client:
            client.export(job_id, "csv", output)
        assert output.getvalue() == csv
    assert list(tmp_path.iterdir()) == [file]


def test_a_video_that_is_cut_is_continued_where_it_ended(
    web: Web, proxy: TcpProxy, video: Path, tmp_path: Path
) -> None:
    with behind(proxy) as client:
        job_id = client.submit(video)
    size = video.stat().st_size
    cuts = [Fault(response_after=count, gently=True) for count in (700, 1500, 0, 1500)]
    with behind(proxy, *cuts) as client:
        output = io.BytesIO()
        client.video(job_id, output)
        assert output.getvalue() == video.read_bytes()
        client.video(job_id, tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4").read_bytes() == video.read_bytes()
    # Without continuing, a response that is always cut there would never arrive.
    middle = [Fault(response_after=size - 100, gently=True)] * 3
    with behind(proxy, *middle, Fault(response_after=1500, gently=True)) as client:
        output = io.BytesIO()
        client.video(job_id, output)
        assert output.getvalue() == video.read_bytes()


def test_a_download_that_fails_leaves_the_file_of_before(web: Web, proxy: TcpProxy, tmp_path: Path) -> None:
    job_id = web.completed(encode(ITEMS))
    file = tmp_path / "out.csv"
    file.write_text("of before")
    with (
        behind(proxy, Fault(response_after=900, gently=True), retry_seconds=0) as client,
        pytest.raises(ClientError) as broken,
    ):
        client.export(job_id, "csv", file)
    assert broken.value.code == "broken_response"
    assert (file.read_text(), list(tmp_path.iterdir())) == ("of before", [file])


def test_waiting_outlives_a_service_that_is_away(web: Web, proxy: TcpProxy) -> None:
    job_id = web.completed(encode(ITEMS))
    with behind(proxy, *REFUSALS, Fault(request=0), Fault(response_after=20, gently=True)) as client:
        assert client.wait(job_id)["status"] == "completed"
