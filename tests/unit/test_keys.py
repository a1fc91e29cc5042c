"""Keys in the database: format, states, rotation, and what is never stored."""

from __future__ import annotations

import re
from typing import Final

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.support.records import new_job
from videoqueue.errors import VideoqueueError
from videoqueue.jobs.api_key import ApiKey, Scope, split_token
from videoqueue.jobs.keys import KeyStore
from videoqueue.jobs.owners import OwnerStore
from videoqueue.jobs.store import JobStore
from videoqueue.jobs.tables import API_KEY
from videoqueue.jobs.types import NOBODY

SUBMIT: Final[frozenset[Scope]] = frozenset({"submit"})


@pytest.fixture
def keys(engine: Engine) -> KeyStore:
    return KeyStore(engine)


def state(keys: KeyStore, token: str) -> str | None:
    checked = keys.check(token)
    return None if checked is None else checked.key.state(checked.time)


def age(engine: Engine, seconds: int) -> None:
    """Moves the last use of all keys into the past."""
    with engine.begin() as connection:
        used = API_KEY.c.last_used_at - seconds * 1_000_000
        connection.execute(sa.update(API_KEY).values(last_used_at=used))


def test_a_key_has_a_public_id_and_256_random_bits(keys: KeyStore) -> None:
    made = [keys.create("anna", SUBMIT) for _ in range(20)]
    for key, token in made:
        assert re.fullmatch(r"vq_[a-z2-7]{12}_[0-9A-Za-z]{43}", token)
        parts = split_token(token)
        assert parts is not None
        assert parts[0] == key.key_id
    assert len({token for _, token in made}) == 20


def test_the_secret_is_in_no_column(keys: KeyStore, engine: Engine) -> None:
    _, token = keys.create("anna", SUBMIT)
    secret = token.rpartition("_")[2]
    with engine.connect() as connection:
        row = connection.execute(sa.select(API_KEY)).one()
    assert not any(secret in str(value) for value in row)


def test_a_valid_key_is_found_with_its_owner_and_scopes(keys: KeyStore) -> None:
    _, token = keys.create("anna", frozenset({"read", "metrics"}))
    checked = keys.check(token)
    assert checked is not None
    assert (checked.key.owner, sorted(checked.key.scopes)) == ("anna", ["metrics", "read"])
    assert state(keys, token) == "valid"


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1],
        lambda token: f"{token}0",
        lambda token: token[:-1] + ("a" if token[-1] != "a" else "b"),
        lambda token: token.replace("vq_", "xx_"),
        lambda token: f"vq_{'a' * 12}_{'0' * 43}",
        lambda token: token.upper(),
        lambda _: "",
        lambda _: "é" * 59,
    ],
)
def test_a_changed_key_is_no_key(keys: KeyStore, change: object) -> None:
    _, token = keys.create("anna", SUBMIT)
    assert callable(change)
    assert keys.check(change(token)) is None


def test_an_expired_and_a_revoked_key_are_known_only_by_their_secret(keys: KeyStore) -> None:
    expired, expired_token = keys.create("anna", SUBMIT, expires_seconds=0)
    revoked, revoked_token = keys.create("anna", SUBMIT)
    assert keys.revoke(revoked.key_id)
    assert (state(keys, expired_token), state(keys, revoked_token)) == ("expired", "revoked")
    for key in (expired, revoked):
        assert keys.check(f"vq_{key.key_id}_{'0' * 43}") is None


def test_a_key_stays_revoked_at_the_first_time(keys: KeyStore) -> None:
    key, _ = keys.create("anna", SUBMIT)
    assert keys.revoke(key.key_id)
    (first,) = keys.all()
    assert keys.revoke(key.key_id) == "already_revoked"
    assert keys.all() == [first]
    assert not keys.revoke("unknown")


def test_a_rotated_key_is_valid_beside_its_successor_until_the_overlap_ends(keys: KeyStore) -> None:
    old, old_token = keys.create("anna", frozenset({"read"}))
    new, new_token = keys.rotate(old.key_id, 3600)
    assert (state(keys, old_token), state(keys, new_token)) == ("valid", "valid")
    assert (new.owner, list(new.scopes), new.expires_at) == ("anna", ["read"], None)
    rotated = next(key for key in keys.all() if key.key_id == old.key_id)
    assert rotated.expires_at is not None
    assert rotated.state(rotated.expires_at - 1) == "valid"
    assert rotated.state(rotated.expires_at) == "expired"


def test_without_an_overlap_a_rotated_key_ends_at_once(keys: KeyStore) -> None:
    old, old_token = keys.create("anna", SUBMIT)
    keys.rotate(old.key_id, 0)
    assert state(keys, old_token) == "expired"
    with pytest.raises(VideoqueueError, match="expired, so it cannot be rotated"):
        keys.rotate(old.key_id, 0)


def test_a_key_that_expires_is_rotated_to_one_with_the_same_lifetime(keys: KeyStore) -> None:
    old, _ = keys.create("anna", SUBMIT, expires_seconds=100)
    new, _ = keys.rotate(old.key_id, 3600)
    assert lifetime(new) == lifetime(old) == 100_000_000
    rotated = next(key for key in keys.all() if key.key_id == old.key_id)
    assert rotated.expires_at == old.expires_at


def test_a_key_is_rotated_once_and_its_successor_lives_as_long_as_it_would_have(keys: KeyStore) -> None:
    old, _ = keys.create("anna", SUBMIT)
    new, _ = keys.rotate(old.key_id, 3600)
    with pytest.raises(VideoqueueError, match=f"was rotated before: {new.key_id} replaces it"):
        keys.rotate(old.key_id, 3600)
    newest, _ = keys.rotate(new.key_id, 3600)
    assert (new.expires_at, newest.expires_at) == (None, None)
    assert [key.replaced_by for key in keys.all()] == [new.key_id, newest.key_id, None]


def lifetime(key: ApiKey) -> int | None:
    return None if key.expires_at is None else key.expires_at - key.created_at


def test_an_unknown_key_cannot_be_rotated(keys: KeyStore) -> None:
    with pytest.raises(VideoqueueError, match="no key with this id"):
        keys.rotate("unknown", 0)


def test_the_last_use_is_written_once_a_minute(keys: KeyStore, engine: Engine) -> None:
    _, token = keys.create("anna", SUBMIT)

    def use() -> int | None:
        checked = keys.check(token)
        assert checked is not None
        keys.note_use(checked)
        return keys.all()[0].last_used_at

    first = use()
    assert first is not None
    assert use() == first
    age(engine, 50)
    assert use() == first - 50_000_000
    age(engine, 20)
    later = use()
    assert later is not None
    assert later >= first


def test_revoked_and_expired_keys_count_as_made(keys: KeyStore) -> None:
    assert not keys.any_made()
    key, _ = keys.create("anna", SUBMIT, expires_seconds=0)
    keys.revoke(key.key_id)
    assert keys.any_made()


@pytest.mark.parametrize("name", ["", "two words", "a,b", "é", "x" * 65, "a\n"])
def test_a_name_that_no_header_could_carry_is_refused(keys: KeyStore, engine: Engine, name: str) -> None:
    with pytest.raises(VideoqueueError, match="1 to 64 ASCII characters"):
        keys.create(name, SUBMIT)
    with pytest.raises(VideoqueueError, match="1 to 64 ASCII characters"):
        OwnerStore(engine).adopt(name)


def test_the_jobs_of_nobody_are_adopted_and_others_stay(engine: Engine, store: JobStore) -> None:
    mine, _ = store.create(new_job(owner="anna", idempotency_key="k"))
    theirs, _ = store.create(new_job(owner="bert"))
    same_key, _ = store.create(new_job(owner=NOBODY, idempotency_key="k"))
    other_key, _ = store.create(new_job(owner=NOBODY, idempotency_key="other"))
    owners = OwnerStore(engine)
    assert owners.unowned() == 2
    assert owners.adopt("anna") == 2
    assert (owners.unowned(), owners.adopt("anna")) == (0, 0)
    jobs = {job_id: store.get(job_id, "anna") for job_id in (mine, same_key, other_key)}
    assert [job.idempotency_key for job in jobs.values() if job] == ["k", None, "other"]
    assert store.get(theirs, "bert") is not None


def test_owners_are_listed_with_what_they_have(engine: Engine, store: JobStore, keys: KeyStore) -> None:
    keys.create("anna", SUBMIT)
    revoked, _ = keys.create("anna", SUBMIT)
    keys.revoke(revoked.key_id)
    running, _ = store.create(new_job(owner="bert"))
    store.create(new_job(owner="bert", input_key="inputs/y.mp4"))
    store.claim(running, "worker")
    owners = OwnerStore(engine)
    owners.set_limits("carl", {"max_pending": 5, "max_running": 0})
    owners.set_limits("carl", {"max_running": None})
    anna, bert, carl = owners.all()
    assert (anna.owner, anna.keys, anna.jobs) == ("anna", 1, 0)
    assert (bert.owner, bert.jobs, bert.pending, bert.running, bert.stored_bytes) == ("bert", 2, 1, 1, 20)
    assert (carl.owner, carl.max_pending, carl.max_running, carl.max_stored_bytes) == ("carl", 5, None, None)
