"""Results over a real socket: broken off when damaged, as small in memory as they are large."""

from __future__ import annotations

import gzip
import json
import re

import psutil
import pytest
import requests
import sqlalchemy as sa

from tests.support.serving import Web
from videoqueue.jobs.chunk_encoding import EncodedChunk, encode_chunk
from videoqueue.jobs.tables import ResultChunk

FRAMES = 100_000
A_CHUNK = 1000


def items(first: int, count: int) -> EncodedChunk:
    """Objects that move every tenth frame."""
    return encode_chunk(
        {
            "frame_index": index,
            "result": {
                "detections": [{"label": "person", "confidence": 0.9, "box": [1, 2, 3, index // 10]}] * 3,
                "timestamp": index / 25,
            },
        }
        for index in range(first, first + count)
    )


def large(web: Web) -> str:
    chunks = (items(first, A_CHUNK) for first in range(0, FRAMES, A_CHUNK))
    return f"{web.url}/video/results/{web.completed(*chunks)}"


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("lost", [0, 1, 2], ids=["first", "middle", "last"])
def test_a_missing_chunk_breaks_the_connection(web: Web, coding: str, lost: int) -> None:
    job_id = web.completed(*(items(index, 1) for index in range(3)))
    with web.engine.begin() as connection:
        connection.execute(sa.delete(ResultChunk).where(ResultChunk.seq == lost))
    for query in ("", "?page_size=2", "?page_size=1000"):
        if (query, lost) == ("?page_size=2", 2):
            continue  # that page has all its frames
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.get(
                f"{web.url}/video/results/{job_id}{query}", headers={"Accept-Encoding": coding}, timeout=60
            )


def test_a_database_that_fails_in_between_breaks_the_connection_and_is_no_bug(web: Web) -> None:
    url = large(web)
    before = len(web.service.log("web"))
    with requests.get(url, stream=True, timeout=60) as answer:
        pieces = answer.iter_content(1000)
        assert next(pieces)
        with web.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE result_chunk RENAME TO other")
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            for _ in pieces:
                pass
    refused = requests.get(url, timeout=60)
    with web.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE other RENAME TO result_chunk")
    assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
    assert refused.headers["Retry-After"] == "5"
    log = web.service.log("web")[before:]
    assert re.search("Results were broken off.*no such table", log)
    assert "Traceback" not in log


def test_a_hundred_thousand_frames_need_no_memory(web: Web) -> None:
    url = large(web)
    (worker,) = psutil.Process(web.service.pid("web")).children(recursive=True)
    assert len(requests.get(url, timeout=300).json()["results"]) == FRAMES
    before = worker.memory_info().rss
    highest = 0
    size = 0
    for coding in ("identity", "gzip"):
        with requests.get(url, headers={"Accept-Encoding": coding}, stream=True, timeout=300) as answer:
            for piece in answer.raw.stream(1024 * 1024, decode_content=False):
                size += len(piece)
                highest = max(highest, worker.memory_info().rss)
    assert size > 15_000_000
    assert highest - before < 20_000_000


def test_pages_and_gzip_give_what_the_whole_gives(web: Web) -> None:
    url = large(web)
    whole = requests.get(url, headers={"Accept-Encoding": "identity"}, timeout=300)
    packed = requests.get(url, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=300)
    assert gzip.decompress(packed.raw.read(decode_content=False)) == whole.content
    found: list[object] = []
    token: str | None = ""
    while token is not None:
        page = requests.get(f"{url}?page_size=999{token and f'&page_token={token}'}", timeout=300).json()
        found += page["results"]
        token = page["next_page_token"]
    assert found == json.loads(whole.content)["results"]


def test_a_still_page_is_small_in_the_database_and_needs_no_memory_to_be_sent(web: Web) -> None:
    lines = [{"text": f"line {line} of {line * 7919}", "confidence": 0.9} for line in range(1000)]
    page = {"text_blocks": lines}
    chunks = [
        encode_chunk(
            {"frame_index": index, "result": {**page, "timestamp": index / 25}}
            for index in range(first, first + 300)
        )
        for first in range(0, 6000, 300)
    ]
    job_id = web.completed(*chunks)
    assert sum(len(chunk.payload) for chunk in chunks) < 1_000_000
    (worker,) = psutil.Process(web.service.pid("web")).children(recursive=True)
    url = f"{web.url}/video/results/{job_id}"
    requests.get(f"{url}?page_size=10", timeout=300)
    before, highest, size = worker.memory_info().rss, 0, 0
    with requests.get(url, headers={"Accept-Encoding": "identity"}, stream=True, timeout=300) as answer:
        for piece in answer.raw.stream(1024 * 1024, decode_content=False):
            size += len(piece)
            highest = max(highest, worker.memory_info().rss)
    assert size > 250_000_000
    assert highest - before < 20_000_000
    last = requests.get(f"{url}?page_size=3", timeout=300).json()["results"]
    assert [item["result"]["timestamp"] for item in last] == [0.0, 0.04, 0.08]
