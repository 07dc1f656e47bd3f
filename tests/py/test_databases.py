"""Clients of databases, patched, in the requests of one loop: while one waits for an answer, the
others go on. Whether they do is asked of the databases."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from asking import Asking, said
from harness import Server, wait_until
from postgres import Postgres
from stores import MariaDB, Redis

if sys.implementation.name != "cpython":
    pytest.skip("psycopg and psycopg2 are CPython's", allow_module_level=True)

import psycopg
import pymysql
import redis as redis_py

Serve = Callable[..., Server]
APP = "apps.databases:app"


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    server = Redis()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDB]:
    server = MariaDB()
    yield server
    server.stop()


@pytest.fixture
def control(postgres: Postgres) -> Iterator[psycopg.Connection[Any]]:
    """The test's own connection."""
    settings = postgres.environment
    with psycopg.connect(
        host=settings["PGHOST"],
        user=settings["PGUSER"],
        dbname=settings["PGDATABASE"],
        autocommit=True,
    ) as connection:
        yield connection


# The driver, and which of psycopg's implementations.
DRIVERS = {
    "psycopg": {"PATCH": "psycopg", "PSYCOPG_IMPL": "binary"},
    "psycopg-in-python": {"PATCH": "psycopg", "PSYCOPG_IMPL": "python"},
    "psycopg2": {"PATCH": "psycopg2"},
}


@pytest.fixture
def asking() -> Iterator[Callable[[Server], Asking]]:
    with ExitStack() as stack:
        yield lambda server: Asking(server, stack)


@pytest.fixture(params=list(DRIVERS))
def driver(
    request: pytest.FixtureRequest,
    serve: Serve,
    postgres: Postgres,
    asking: Callable[[Server], Asking],
) -> tuple[str, Asking]:
    """The path of an app with a driver, and who asks it."""
    env = {**DRIVERS[request.param], **postgres.environment}
    return f"/{env['PATCH']}", asking(serve(APP, env=env))


def waiting(control: psycopg.Connection[Any]) -> int:
    """How many clients PostgreSQL has waiting for an advisory lock."""
    row = control.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    assert row is not None
    return int(row[0])


def test_a_hundred_queries_wait_at_once(
    driver: tuple[str, Asking], control: psycopg.Connection[Any]
) -> None:
    path, app = driver
    control.execute("SELECT pg_advisory_lock(1)")
    sql = "SELECT pg_advisory_xact_lock_shared(1); SELECT 42"
    clients = [app.send(path, sql=sql) for _ in range(100)]
    wait_until(lambda: waiting(control) == 100, "waited at once")
    assert app.ask("/hello") == "hello"
    control.execute("SELECT pg_advisory_unlock(1)")
    assert [said(client) for client in clients] == [[[42]]] * 100


def test_a_hundred_sleeps_take_not_the_time_of_as_many(driver: tuple[str, Asking]) -> None:
    path, app = driver
    sql = (
        "CREATE TEMP TABLE times AS SELECT extract(epoch FROM clock_timestamp()) AS begun;"
        "SELECT pg_sleep(0.2);"
        "SELECT begun, extract(epoch FROM clock_timestamp()) FROM times"
    )
    clients = [app.send(path, sql=sql) for _ in range(100)]
    times = [tuple(map(float, row)) for client in clients for row in said(client)]
    took = max(end for _, end in times) - min(begun for begun, _ in times)
    assert len(times) == 100
    assert took < 100 * 0.2 / 2, took  # one after another they take at least twice that


def test_a_client_that_leaves_does_not_tear_its_transaction(
    driver: tuple[str, Asking], control: psycopg.Connection[Any]
) -> None:
    path, app = driver
    control.execute("CREATE TABLE left_behind (what text)")
    control.execute("SELECT pg_advisory_lock(2)")
    sql = "SELECT pg_advisory_xact_lock(2); INSERT INTO left_behind VALUES ('all')"
    app.send(path, sql=sql).close()
    wait_until(lambda: waiting(control) == 1, "waited")
    assert app.ask("/hello") == "hello"
    control.execute("SELECT pg_advisory_unlock(2)")

    def rows() -> list[Any]:
        return control.execute("SELECT what FROM left_behind").fetchall()

    wait_until(rows, "inserted")
    assert rows() == [("all",)]
    control.execute("DROP TABLE left_behind")


def test_an_error_of_the_database_is_raised_and_the_next_query_is_well(
    driver: tuple[str, Asking],
) -> None:
    path, app = driver
    assert app.ask(path, sql="SELECT 1/0").startswith("DivisionByZero: division by zero")
    assert app.ask(path, sql="SELECT 7") == [[7]]


def test_a_connection_that_the_database_ends_is_told_of(
    driver: tuple[str, Asking], control: psycopg.Connection[Any]
) -> None:
    path, app = driver
    control.execute("SELECT pg_advisory_lock(3)")
    client = app.send(path, sql="SELECT pg_advisory_lock(3)")
    wait_until(lambda: waiting(control) == 1, "waited")
    control.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
    assert said(client).startswith(("AdminShutdown", "OperationalError"))
    control.execute("SELECT pg_advisory_unlock(3)")


def test_a_connection_that_can_not_be_made_is_told_of(
    serve: Serve, asking: Callable[[Server], Asking], tmp_path: Any
) -> None:
    app = asking(serve(APP, env={"PATCH": "psycopg", "PGHOST": str(tmp_path)}))
    assert app.ask("/psycopg", sql="SELECT 1").startswith("OperationalError: connection")


def test_psycopg_is_notified_and_keeps_its_own_time(
    serve: Serve,
    asking: Callable[[Server], Asking],
    postgres: Postgres,
    control: psycopg.Connection[Any],
) -> None:
    app = asking(serve(APP, env={"PATCH": "psycopg", **postgres.environment}))
    listening = "SELECT FROM pg_stat_activity WHERE query = 'LISTEN news' AND state = 'idle'"
    assert app.ask("/notified", seconds=0.05) == []
    wait_until(lambda: not control.execute(listening).fetchall(), "gone")
    client = app.send("/notified", seconds=60)
    wait_until(lambda: control.execute(listening).fetchall(), "listened")
    assert app.ask("/hello") == "hello"
    control.execute("NOTIFY news, 'the news'")
    assert said(client) == ["the news"]


def test_redis_is_waited_for_by_some_while_another_pushes(
    serve: Serve, asking: Callable[[Server], Asking], redis: Redis
) -> None:
    app = asking(serve(APP, env={"REDIS": redis.path}))
    clients = [app.send("/pop", key="news") for _ in range(20)]
    with redis_py.Redis(unix_socket_path=redis.path) as control:
        wait_until(lambda: control.info("clients")["blocked_clients"] == 20, "waited")
    for number in range(20):
        assert app.ask("/push", key="news", value=number) in (0, 1)
    # Redis serves them in the order in which they came to it.
    assert sorted(said(client)[1] for client in clients) == sorted(map(str, range(20)))


def test_pymysql_waits_while_others_are_served(
    serve: Serve, asking: Callable[[Server], Asking], mariadb: MariaDB
) -> None:
    app = asking(serve(APP, env={"MARIADB": mariadb.path}))
    with pymysql.connect(unix_socket=mariadb.path, user="root") as control:
        cursor = control.cursor()
        cursor.execute("SELECT GET_LOCK('gate', 0)")
        sql = "SELECT GET_LOCK('gate', 60); SELECT RELEASE_LOCK('gate')"
        clients = [app.send("/pymysql", sql=sql) for _ in range(20)]

        def waiting() -> object:
            cursor.execute(
                "SELECT count(*) = 20 FROM information_schema.processlist WHERE state = 'User lock'"
            )
            return cursor.fetchone() == (1,)

        wait_until(waiting, "waited")
        assert app.ask("/hello") == "hello"
        cursor.execute("SELECT RELEASE_LOCK('gate')")
        assert [said(client) for client in clients] == [[[1]]] * 20
