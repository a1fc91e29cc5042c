"""Owners take turns: none can fill the workers, and a limit of running jobs makes the others wait."""

from __future__ import annotations

import math
import threading
import uuid
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tests.support.records import lease_policy, new_job, stored
from videoqueue.jobs.database import engine_options, now, prepare, reading
from videoqueue.jobs.deletion import Deletions
from videoqueue.jobs.owners import OwnerStore
from videoqueue.jobs.queries import JobQueries
from videoqueue.jobs.store import Claim, JobStore
from videoqueue.jobs.tables import JOB
from videoqueue.jobs.turns import TURNS
from videoqueue.jobs.types import NOBODY, OwnerLimits


def submit(store: JobStore, owner: str, count: int = 1) -> list[uuid.UUID]:
    return [store.create(new_job(owner=owner))[0] for _ in range(count)]


def claimed(store: JobStore, message: uuid.UUID | None = None) -> Claim:
    claim = store.claim(message or uuid.uuid4(), "worker")
    assert claim is not None
    return claim


def backdate(engine: Engine, **columns: object) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(JOB).values(columns))


def test_with_one_owner_each_message_claims_the_job_that_it_names(store: JobStore) -> None:
    first, second, third = submit(store, NOBODY, 3)
    assert [claimed(store, job_id).job_id for job_id in (second, first, third)] == [second, first, third]


def test_a_message_whose_job_cannot_be_claimed_claims_the_oldest_instead(store: JobStore) -> None:
    first, second, third = submit(store, NOBODY, 3)
    claimed(store, second)
    assert [claimed(store, second).job_id for _ in range(2)] == [first, third]
    assert store.claim(second, "worker") is None


@pytest.mark.parametrize("workers", [1, 2])
def test_the_only_job_of_one_owner_waits_for_at_most_one_more_of_another_with_many(
    store: JobStore, workers: int
) -> None:
    messages = submit(store, "anna", 500)
    running = [claimed(store, messages.pop(0)) for _ in range(workers)]
    messages += submit(store, "bert")
    started = []
    while "bert" not in started:
        store.fail(running.pop(0), "why")
        running.append(claimed(store, messages.pop(0)))
        started.append(running[-1].owner)
    assert len(started) <= 2


def test_owners_with_as_many_running_jobs_take_turns(store: JobStore) -> None:
    for owner in ("anna", "bert", "carl"):
        submit(store, owner, 3)
    started = [claimed(store) for _ in range(3)]
    assert [claim.owner for claim in started] == ["anna", "bert", "carl"]
    for claim in reversed(started):  # the order in which they end decides nothing
        store.fail(claim, "why")
    order = []
    for _ in range(6):
        claim = claimed(store)
        order.append(claim.owner)
        store.fail(claim, "why")
    assert order == ["anna", "bert", "carl"] * 2


def test_workers_that_choose_at_the_same_time_share_out_the_turns(store: JobStore) -> None:
    submit(store, "anna", 12)
    submit(store, "bert", 4)
    submit(store, "carl", 1)
    claims = _at_once(store, 9)
    assert Counter(claim.owner for claim in claims) == {"anna": 4, "bert": 4, "carl": 1}
    assert len({claim.job_id for claim in claims}) == 9


def test_workers_that_choose_at_the_same_time_keep_to_the_limit_of_running_jobs(store: JobStore) -> None:
    OwnerStore(store.engine).set_limits("anna", {"max_running": 3})
    submit(store, "anna", 12)
    assert len(_at_once(store, 9)) == 3


def _at_once(store: JobStore, count: int) -> list[Claim]:
    """As many workers, each with one message; the claims of those that got one."""
    barrier, found, errors = threading.Barrier(count), [], []

    def work() -> None:
        engine = sa.create_engine(store.engine.url, **engine_options(str(store.engine.url), 2))
        prepare(engine)
        try:
            barrier.wait()
            found.append(JobStore(engine, store.policy, store.limits).claim(uuid.uuid4(), "worker"))
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)
        engine.dispose()

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return [claim for claim in found if claim is not None]


@pytest.mark.parametrize("by", ["setting", "exception"])
def test_an_owner_at_the_limit_of_running_jobs_is_left_out(engine: Engine, by: str) -> None:
    limits = OwnerLimits(max_running=1 if by == "setting" else 5)
    store = JobStore(engine, lease_policy(), limits)
    if by == "exception":
        OwnerStore(engine).set_limits("anna", {"max_running": 1})
        OwnerStore(engine).set_limits("bert", {"max_running": 1})
    first = submit(store, "anna", 5)
    others = submit(store, "bert", 2)
    claims = [claimed(store, first[0]), claimed(store, first[1])]
    assert [claim.job_id for claim in claims] == [first[0], others[0]]
    assert store.claim(first[1], "worker") is None
    store.fail(claims[0], "why")
    assert claimed(store, others[1]).job_id == first[1]


def test_an_exception_can_lift_the_limit_of_the_settings(engine: Engine) -> None:
    store = JobStore(engine, lease_policy(), OwnerLimits(max_running=1))
    OwnerStore(engine).set_limits("anna", {"max_running": 0})
    submit(store, "anna", 3)
    assert [claimed(store).owner for _ in range(3)] == ["anna"] * 3


def test_only_jobs_that_can_start_count_as_claimable(engine: Engine) -> None:
    limits = OwnerLimits(max_running=2)
    store = JobStore(engine, lease_policy(), limits)
    submit(store, "anna", 5)
    submit(store, "bert", 1)
    queries = JobQueries(engine)
    assert queries.claimable(limits) == 3
    claims = [claimed(store) for _ in range(3)]
    assert queries.claimable(limits) == 0
    assert queries.claimable(OwnerLimits()) == 3
    OwnerStore(engine).set_limits("anna", {"max_running": 4})
    assert queries.claimable(limits) == 2
    store.fail(next(claim for claim in claims if claim.owner == "anna"), "why")
    assert queries.claimable(limits) == 3


def test_jobs_of_an_owner_at_the_limit_stay_due_and_are_not_announced(engine: Engine) -> None:
    store = JobStore(engine, lease_policy(), OwnerLimits(max_running=1))
    submit(store, "anna", 3)
    (other,) = submit(store, "bert")
    claim = claimed(store)
    assert claim.owner == "anna"
    backdate(engine, announce_after=1)
    assert store.take_announcements(10) == [other]
    store.fail(claim, "why")
    assert len(store.take_announcements(10)) == 2


@pytest.mark.parametrize(
    "end", ["complete", "fail", "release", "give up", "expire", "expire for good", "delete"]
)
def test_the_transaction_that_ends_a_job_makes_the_oldest_of_its_owner_due(engine: Engine, end: str) -> None:
    crashes = 1 if end == "expire for good" else 3
    policy = lease_policy(max_attempts=1, max_crashes=crashes)
    store = JobStore(engine, policy, OwnerLimits(max_running=1))
    first, second, _ = submit(store, "anna", 3)
    submit(store, "bert")
    claim = claimed(store, first)
    assert store.take_announcements(10, owner="anna") == []
    match end:
        case "complete":
            store.complete(claim, "0" * 64)
        case "fail":
            store.fail(claim, "why")
        case "release":
            store.release(claim, "interruption", None, 60)
        case "give up":
            store.release(claim, "failures", "why")
        case "delete":
            assert Deletions(engine, store.limits).delete(first, "anna") is not None
        case _:
            with engine.begin() as connection:
                connection.execute(sa.update(JOB).where(JOB.c.job_id == first).values(lease_until=1))
            assert store.expire(first)
    due = [first] if end == "expire" else [second]
    assert store.take_announcements(10) == due


def test_two_jobs_that_end_before_either_worker_announces_make_two_others_due(engine: Engine) -> None:
    store = JobStore(engine, lease_policy(), OwnerLimits(max_running=2))
    _, _, third, fourth, _ = submit(store, "anna", 5)
    for claim in [claimed(store) for _ in range(2)]:
        store.fail(claim, "why")
    assert store.take_announcements(10, owner="anna") == [third, fourth]


def test_no_more_jobs_are_made_due_than_the_owner_may_run(engine: Engine) -> None:
    store = JobStore(engine, lease_policy(), OwnerLimits(max_running=2))
    submit(store, "anna", 6)
    for _ in range(2):
        store.fail(claimed(store), "why")
    third, fourth = (claimed(store) for _ in range(2))
    store.fail(third, "why")
    store.fail(fourth, "why")
    assert len(store.take_announcements(10, owner="anna")) == 2


def test_without_a_limit_the_end_of_a_job_announces_no_other(store: JobStore) -> None:
    first, second = submit(store, "anna", 2)
    before = stored(store, second)
    store.fail(claimed(store, first), "why")
    assert stored(store, second) == before


def test_a_choice_reads_one_entry_for_each_owner_and_not_all_pending_jobs(engine: Engine) -> None:
    """200 owners with one pending job each, and then with 50; no statistics on SQLite."""
    store = JobStore(engine, lease_policy())
    (job_id,) = submit(store, "o000")
    with engine.begin() as connection:
        row = dict(connection.execute(sa.select(JOB)).one()._mapping)
    effort = _steps_of_sqlite if engine.dialect.name == "sqlite" else _rows_of_postgres
    efforts = []
    for count in (1, 49):
        rows = [row | {"job_id": uuid.uuid4(), "owner": f"o{n % 200:03}"} for n in range(200 * count)]
        with engine.begin() as connection:
            connection.execute(sa.insert(JOB), rows)
        if engine.dialect.name == "postgresql":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("ANALYZE job")
        with reading(engine) as connection:
            efforts.append(effort(connection))
            assert len(connection.execute(*_turns(connection)).all()) == 200
    assert efforts[1] <= 1.1 * efforts[0]
    assert claimed(store, job_id).job_id == job_id


def _turns(connection: Connection, before: str = "") -> tuple[sa.TextClause, dict[str, int]]:
    return sa.text(before + TURNS[connection.dialect.name]), {"time": now(connection), "limit": 0}


def _steps_of_sqlite(connection: Connection) -> int:
    """The instructions that SQLite carries out for a choice."""
    steps: list[None] = []
    driver: Any = connection.connection.driver_connection
    query, values = _turns(connection)
    driver.set_progress_handler(lambda: steps.append(None), 1)
    connection.execute(query, values).all()
    driver.set_progress_handler(None, 1)
    return len(steps)


def _rows_of_postgres(connection: Connection) -> float:
    """The jobs that Postgres reads for a choice, whether or not it uses them."""
    explained = connection.execute(*_turns(connection, "EXPLAIN (ANALYZE, FORMAT JSON) ")).scalar_one()
    return math.fsum(
        (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)) * scan["Actual Loops"]
        for scan in _scans(explained[0]["Plan"])
    )


def _scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The node of the plan and those below it that read the table of jobs."""
    below = [scan for child in plan.get("Plans", []) for scan in _scans(child)]
    return [plan, *below] if plan.get("Relation Name") == "job" else below
