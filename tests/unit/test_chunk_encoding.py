"""However results are stored, they are served as their JSON; a damaged chunk is not read as another."""

from __future__ import annotations

import itertools
import json
import tracemalloc
import uuid
import zlib
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st

from tests.support.records import new_job
from videoqueue.errors import ResultsTooLargeError, VideoqueueError
from videoqueue.jobs import chunk_decoding
from videoqueue.jobs.chunk_decoding import items_of, json_of
from videoqueue.jobs.chunk_encoding import LINES, MAX_ITEM_BYTES, ChunkEncoder, ChunkForm, encode_chunk
from videoqueue.jobs.results import ResultReader, encode
from videoqueue.jobs.results_by_page import Position, array_of_page
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import CHUNK
from videoqueue.jobs.types import ALL_OWNERS
from videoqueue.pipeline.version import pipelines
from videoqueue.sandbox.protocol import MAX_MESSAGE_BYTES

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
#: Few different ones, so that equal ones follow each other; the timestamp at any place, or missing, or odd.
RESULTS = st.lists(
    st.dictionaries(
        st.sampled_from(["timestamp", "text", '"timestamp":', "\0", "\n", "boxes"]), VALUES, max_size=4
    ),
    min_size=1,
    max_size=3,
)
TIMES = NUMBERS | st.none() | st.booleans() | st.text(max_size=2)


@st.composite
def many_items(draw: st.DrawFn) -> list[dict[str, Any]]:
    results = draw(RESULTS)
    items: list[dict[str, Any]] = []
    for index in draw(st.lists(st.integers(0, 2**53), max_size=12)):
        result = dict(draw(st.sampled_from(results)))
        if "timestamp" in result:
            result["timestamp"] = draw(TIMES)
        items.append({"frame_index": index, "result": result})
    return items


@hypothesis.given(many_items(), st.data())
def test_any_items_in_any_chunks_read_back_as_their_json(
    items: list[dict[str, Any]], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(items)), max_size=4)))
    bounds = [0, *cuts, len(items)]
    parts = [items[start:end] for start, end in itertools.pairwise(bounds) if start < end]
    chunks = [encode_chunk(part) for part in parts]
    assert b",".join(b"".join(json_of(chunk.payload, LINES)) for chunk in chunks) == encode(items)
    one_by_one = [item for chunk in chunks for item in items_of(chunk.payload, LINES)]
    assert one_by_one == [encode([item]) for item in items]
    assert [chunk.form.served_bytes for chunk in chunks] == [len(encode(part)) for part in parts]
    assert [index for chunk in chunks for index in chunk.frames] == [item["frame_index"] for item in items]


@hypothesis.given(many_items(), st.data())
def test_a_chunk_with_another_byte_or_length_is_damaged_or_the_same(
    items: list[dict[str, Any]], data: st.DataObject
) -> None:
    payload = encode_chunk(items).payload
    place, bit = data.draw(st.integers(0, len(payload) - 1)), data.draw(st.integers(0, 7))
    changed = data.draw(
        st.sampled_from(
            [
                payload[:place],
                payload + b"\0",
                payload[:place] + bytes([payload[place] ^ 1 << bit]) + payload[place + 1 :],
            ]
        )
    )
    for read in (json_of, items_of):
        found: list[bytes] = []
        try:
            found.extend(read(changed, LINES))
        except VideoqueueError:
            continue
        separator = b"" if read is json_of else b","
        assert separator.join(found) == encode(items)  # some bits of the header mean nothing


STILL = [
    {"frame_index": 3 * index, "result": {"text": "Zoë\n", "timestamp": index / 25, "text_blocks": [1]}}
    for index in range(1000)
]


def test_equal_results_are_stored_once_and_the_time_of_the_first_is_known() -> None:
    chunk = encode_chunk(STILL)
    lines = zlib.decompress(chunk.payload).split(b"\n")
    assert (
        lines[0] == b'{"frame_index":\0,"result":{"text":"Zo\xc3\xab\\n","timestamp":\0,"text_blocks":[1]}}'
    )
    assert lines[1:4] == [b"0,0.0", b"3,0.04", b"6,0.08"]
    assert chunk.form == ChunkForm(LINES, 0.0, len(encode(STILL)))


@hypothesis.given(many_items())
def test_a_chunk_can_be_stored_after_each_item_and_grow(items: list[dict[str, Any]]) -> None:
    encoder = ChunkEncoder()
    for count, item in enumerate(items, 1):
        encoder.add(item)
        chunk = encoder.chunk()
        assert b"".join(json_of(chunk.payload, LINES)) == encode(items[:count])
        assert (len(chunk.frames), chunk.form.served_bytes) == (count, len(encode(items[:count])))


def test_a_result_that_returns_later_is_stored_again_and_one_that_stands_alone_is_stored_as_it_is() -> None:
    items = [
        {"frame_index": index, "result": {"text": text, "timestamp": 0.5}}
        for index, text in enumerate("aabaa")
    ]
    template = b'{"frame_index":\0,"result":{"text":"a","timestamp":\0}}'
    alone = b'{"frame_index":2,"result":{"text":"b","timestamp":0.5}}'
    stored = zlib.decompress(encode_chunk(items).payload).splitlines()
    assert stored == [template, b"0,0.5", b"1,0.5", alone, template, b"3,0.5", b"4,0.5"]


@pytest.mark.parametrize(
    "lines",
    [
        b"1,0.5\n",
        b'{"a":\0}\n1,0.5\n',
        b'{"a":\0,\0,\0}\n1,0.5\n',
        b'{"a":\0,"b":\0}\n1\n',
        b'{"a":\0,"b":\0}\n1,2,3\n',
        b'{"a":1}\n{"b":\0,"c":\0}\n\n',
        b'{"a":1}',
    ],
)
def test_lines_that_make_no_sense_are_damaged(lines: bytes) -> None:
    with pytest.raises(VideoqueueError, match="damaged"):
        list(items_of(zlib.compress(lines), LINES))


def test_an_endless_line_is_damaged_and_costs_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_decoding, "_MAX_LINE", 1024**2)
    bomb = zlib.compress(b"{" + bytes(50 * 1024**2))
    tracemalloc.start()
    with pytest.raises(VideoqueueError, match="damaged"):
        list(json_of(bomb, LINES))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024**2


def test_a_chunk_is_not_read_further_than_it_is_served() -> None:
    chunk = encode_chunk(STILL)
    size = chunk.form.served_bytes
    assert size is not None
    assert b"".join(json_of(chunk.payload, LINES, size)) == encode(STILL)
    assert b",".join(items_of(chunk.payload, LINES, size)) == encode(STILL)
    for read in (json_of, items_of):
        found: list[bytes] = []
        with pytest.raises(VideoqueueError, match="damaged"):
            found.extend(read(chunk.payload, LINES, size - 1))
        assert sum(map(len, found)) < size


def test_a_chunk_that_expands_beyond_its_row_ends_early(store: JobStore) -> None:
    job_id = finished(store, STILL)
    bomb = zlib.compress(b"{" + b"}\n{" * 1_000_000 + b"}\n")
    with store.engine.begin() as connection:
        connection.execute(sa.update(CHUNK).values(payload=bomb))
    reader = ResultReader(store.engine)
    for read in (reader.chunks(job_id, ALL_OWNERS), reader.chunks_from(job_id, ALL_OWNERS, 0)):
        with pytest.raises(VideoqueueError, match="damaged"):
            list(read)


@pytest.mark.parametrize("line", [b"{" + bytes(8_000_000), b"1" + b"," * 8_000_000], ids=["NUL", "comma"])
def test_a_line_of_separators_costs_little_more_memory_than_its_bytes(line: bytes) -> None:
    bomb = zlib.compress(b'{"a":\0,"b":\0}\n' + line + b"\n")
    tracemalloc.start()
    with pytest.raises(VideoqueueError, match="damaged"):
        list(items_of(bomb, LINES))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * len(line)


@pytest.mark.parametrize("read", [json_of, items_of])
def test_a_chunk_that_expands_a_lot_is_read_in_little_memory(read: Any) -> None:
    page = {"text": "x" * 50_000}
    encoder = ChunkEncoder()
    for index in range(1000):
        encoder.add({"frame_index": index, "result": {**page, "timestamp": index / 25}})
    chunk = encoder.chunk()
    assert len(chunk.payload) < 10_000
    tracemalloc.start()
    size = sum(map(len, read(chunk.payload, LINES)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 50_000_000
    assert peak < 8 * 1024**2


def test_an_encoder_keeps_what_is_compressed_and_one_item() -> None:
    encoder = ChunkEncoder()
    tracemalloc.start()
    for index in range(400):
        encoder.add({"frame_index": index, "result": {"text": "x" * 100_000 + str(index), "timestamp": 1}})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert encoder.served_bytes > 40_000_000
    assert peak < 4 * 1024**2


@pytest.mark.parametrize("time", [0.5, None], ids=["a time", "no time"])
def test_the_largest_item_is_read_back_and_a_larger_one_is_refused(time: float | None) -> None:
    room = MAX_ITEM_BYTES - len(encode([{"frame_index": 0, "result": {"text": "", "timestamp": time}}]))
    largest: dict[str, Any] = {"frame_index": 0, "result": {"text": "x" * room, "timestamp": time}}
    chunk = encode_chunk([largest])
    assert chunk.form.served_bytes == MAX_ITEM_BYTES
    assert b"".join(json_of(chunk.payload, LINES)) == encode([largest])
    encoder = ChunkEncoder()
    encoder.add(STILL[0])
    largest["result"]["text"] += "x"
    with pytest.raises(ResultsTooLargeError, match=f"larger than {MAX_ITEM_BYTES} bytes"):
        encoder.add(largest)
    assert encoder.chunk() == encode_chunk(STILL[:1])


def test_an_item_is_as_large_as_the_message_that_it_comes_in() -> None:
    assert MAX_ITEM_BYTES == MAX_MESSAGE_BYTES


def test_a_chunk_of_a_newer_release_is_not_read() -> None:
    with pytest.raises(VideoqueueError, match="newer release"):
        list(json_of(b"", "another"))


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        ChunkEncoder().add({"frame_index": 0, "result": {"a": float("nan"), "timestamp": 1.0}})


# In the database


ITEMS = [*STILL[:40], *({"frame_index": 1000 + index, "result": {"n": index}} for index in range(3))]


def finished(store: JobStore, *parts: list[dict[str, Any]], old: int = -1) -> uuid.UUID:
    """A completed job with a chunk for each part; number `old` as older releases wrote it."""
    claim = store.claim(store.create(new_job())[0], "worker")
    assert claim is not None
    for seq, part in enumerate(parts):
        chunk = encode_chunk(part)
        if seq == old:
            store.checkpoint(claim, seq, encode(part), chunk.frames, 0.5)
        else:
            store.checkpoint(claim, seq, chunk.payload, chunk.frames, 0.5, chunk.form)
    etag, size = ResultReader(store.engine).digest(claim.job_id, ALL_OWNERS)
    store.complete(claim, etag, None, size)
    return claim.job_id


@pytest.mark.parametrize("old", [-1, 0, 1])
def test_encoded_and_older_chunks_are_served_as_one_array(store: JobStore, old: int) -> None:
    job_id = finished(store, ITEMS[:11], ITEMS[11:30], ITEMS[30:], old=old)
    reader = ResultReader(store.engine)
    expected = b"[" + encode(ITEMS) + b"]"
    etag, size = reader.digest(job_id, ALL_OWNERS)
    assert b"".join(reader.array(job_id, ALL_OWNERS, etag)) == expected
    assert size == len(expected) == reader.size(job_id, ALL_OWNERS)


@pytest.mark.parametrize("old", [-1, 0, 1])
@pytest.mark.parametrize("size", [1, 2, 7, 11, 12, 43, 100])
def test_pages_of_encoded_and_older_chunks_hold_each_item_once(store: JobStore, old: int, size: int) -> None:
    job_id = finished(store, ITEMS[:11], ITEMS[11:30], ITEMS[30:], old=old)
    reader = ResultReader(store.engine)
    etag = reader.etag(job_id, ALL_OWNERS)
    found: list[bytes] = []
    position: Position | None = Position()
    while position is not None:
        page, pieces = array_of_page(reader, job_id, ALL_OWNERS, etag, position, size), []
        while True:
            try:
                pieces.append(next(page))
            except StopIteration as end:
                position = end.value
                break
        found.append(b"".join(pieces))
    whole = [item for page in found for item in json.loads(page)]
    assert whole == ITEMS
    assert [len(json.loads(page)) for page in found[:-1]] == [size] * (len(found) - 1)


def test_a_damaged_chunk_ends_neither_the_array_nor_a_page(store: JobStore) -> None:
    long = [{"frame_index": index, "result": {"text": str(index) * 300_000}} for index in range(10, 14)]
    job_id = finished(store, long, ITEMS[11:])
    reader = ResultReader(store.engine)
    etag = reader.etag(job_id, ALL_OWNERS)
    with store.engine.begin() as connection:
        (payload,) = connection.scalars(sa.select(CHUNK.c.payload).where(CHUNK.c.seq == 0))
        broken = payload[:-1] + bytes([payload[-1] ^ 1])
        connection.execute(sa.update(CHUNK).where(CHUNK.c.seq == 0).values(payload=broken))
    for read in (
        reader.array(job_id, ALL_OWNERS, etag),
        array_of_page(reader, job_id, ALL_OWNERS, etag, Position(), 2),
    ):
        sent: list[bytes] = []
        with pytest.raises(VideoqueueError, match="damaged"):
            sent.extend(read)
        assert not b"".join(sent).endswith(b"]")


def test_an_unfinished_job_has_a_size_without_reading_its_chunks(store: JobStore) -> None:
    claim = store.claim(store.create(new_job())[0], "worker")
    assert claim is not None
    reader = ResultReader(store.engine)
    assert reader.size(claim.job_id, ALL_OWNERS) == len(b"[]")
    for seq, item in enumerate(ITEMS[:3]):
        store.checkpoint(claim, seq, encode([item]), [seq], 0.1)
    assert reader.size(claim.job_id, ALL_OWNERS) == len(b"[" + encode(ITEMS[:3]) + b"]")


def test_the_version_of_a_pipeline_names_the_form_in_which_chunks_are_stored() -> None:
    assert pipelines._STORED_FORM == LINES
