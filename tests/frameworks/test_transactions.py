"""Views that wait inside a transaction of PostgreSQL, by Django's connection or by a scoped session
of SQLAlchemy: whose transaction that is."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from harness import Process, Server, wait_until
from postgres import Postgres
from rawclient import Client, request

Start = Callable[..., Server]
Mode = dict[str, int]

SITES = pytest.mark.parametrize("site", ["django", "sqlalchemy"])
ENDS = pytest.mark.parametrize("end", ["commit", "rollback"])
WARNING = "waits inside transaction.atomic() (default)"


@pytest.fixture
def start(serve_alone: Callable[..., Server], postgres: Postgres) -> Start:
    """start(site, locals) -> Server, whose table `entries` is empty."""
    with psycopg.connect(postgres.dsn) as connection:
        connection.execute("DROP TABLE IF EXISTS entries")
        connection.execute("CREATE TABLE entries (name text)")

    def start(site: str, keeps_locals: bool, tracebacks: int = 0) -> Server:
        env = {"SITE_POSTGRES": str(postgres.directory)}
        if keeps_locals:
            env["SITE_LOCALS"] = "1"
        return serve_alone(f"sites.ledger:{site}_site", env=env, tracebacks=tracebacks)

    return start


@pytest.fixture
def written(postgres: Postgres) -> Callable[[], dict[str, int]]:
    """Returns what others see in the table: how often it has which names."""

    def count() -> dict[str, int]:
        with psycopg.connect(postgres.dsn) as connection:
            return dict(connection.execute("SELECT name, count(*) FROM entries GROUP BY name"))

    return count


def hold(server: Server, client: Client, name: str = "held") -> None:
    client.send(request(f"/hold/{name}/later"))
    server.wait_for_log(f"{name} waits\n")


def told(client: Client) -> dict[str, Any]:
    response = client.read_response()
    assert response.status == 200, response.body
    report: dict[str, Any] = json.loads(response.body)
    return report


@SITES
@ENDS
def test_a_request_that_waits_in_a_transaction_keeps_it_while_50_others_end_theirs(
    start: Start, written: Callable[[], dict[str, int]], site: str, end: str
) -> None:
    server = start(site, True)
    others = {
        f"{'not committed' if number % 2 else 'committed'}-{number}": ("commit", "rollback")[
            number % 2
        ]
        for number in range(50)
    }
    kept = {name: 2 for name, how in others.items() if how == "commit"}
    with server.connect() as held, ExitStack() as stack:
        hold(server, held)
        clients = [stack.enter_context(server.connect()) for _ in others]
        for client, (name, how) in zip(clients, others.items()):
            client.send(request(f"/write/{name.replace(' ', '%20')}/{how}"))
        reports = [told(client) for client in clients]
        assert written() == kept
        assert clients[0].get(f"/resume/held/{end}").body == b"True"
        reports.append(told(held))
    assert all(report["before"] == report["after"] for report in reports)
    assert len({report["before"][1] for report in reports}) == 51
    # Of what was rolled back each saw its own at the most.
    assert max(report["others seen"] for report in reports[:-1]) == 1
    assert reports[-1]["others seen"] == 0
    assert written() == {**kept, **({"held": 2} if end == "commit" else {})}
    assert "waits inside" not in server.log


def test_without_it_a_request_of_a_loop_closes_django_s_connection_under_one_that_waits(
    start: Start, mode: Mode, written: Callable[[], dict[str, int]]
) -> None:
    in_loop = "threads" not in mode  # a thread is a request's own while that waits
    server = start("django", False, tracebacks=3 * in_loop)
    with server.connect() as held, server.connect() as other:
        hold(server, held)
        other.send(request("/write/other/commit"))
        statuses = [other.read_response().status]
        for name in ("held", "again"):
            if name == "again":
                hold(server, held, name)
            other.get(f"/resume/{name}/commit")
            statuses.append(held.read_response().status)
    assert statuses == ([500] * 3 if in_loop else [200] * 3)
    assert written() == ({} if in_loop else {"held": 2, "other": 2, "again": 2})
    assert server.log.count(WARNING) == in_loop
    assert server.log.count(f"GET /hold/held/later {WARNING}") == in_loop


def test_without_it_a_request_of_a_loop_ends_the_session_s_transaction_of_one_that_waits(
    start: Start, mode: Mode, written: Callable[[], dict[str, int]]
) -> None:
    server = start("sqlalchemy", False)
    with server.connect() as held, server.connect() as other:
        hold(server, held)
        other.send(request("/write/other/commit"))
        second = told(other)
        other.get("/resume/held/rollback")
        first = told(held)
    shared = second["before"] == first["before"] != first["after"]
    assert shared == ("threads" not in mode)
    assert written() == {"other": 2, **({"held": 1} if shared else {})}
    assert "waits inside" not in server.log


def test_a_file_s_end_finds_the_connection_of_its_request(start: Start, mode: Mode) -> None:
    # Any thread of a pool closes the file, and finds its own.
    expected = "connections are known" if "threads" in mode else "1 connections are known"
    server = start("django", True)
    with server.connect() as client:
        for count in range(1, 4):
            assert client.get("/file").status == 200
            wait_until(
                lambda count=count: server.log.count(expected) == count,  # type: ignore[misc]
                "closed the file",
            )


def test_connections_end_with_their_requests(start: Start, postgres: Postgres) -> None:
    server = start("sqlalchemy", True)
    with server.connect() as client, psycopg.connect(postgres.dsn) as connection:
        connection.autocommit = True
        for number in range(5):
            assert client.get(f"/write/{number}/commit").status == 200

        def others() -> int:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE client_port IS NOT NULL AND pid <> pg_backend_pid()"
            ).fetchone()
            assert row is not None
            return int(row[0])

        wait_until(lambda: others() == 0, "closed all")


@pytest.mark.parametrize(
    "before, names",
    [
        ("import django.db", {"asgiref.local", "django.db"}),
        (
            "from sqlalchemy.orm import scoped_session; mine = scoped_session(list)",
            {"sqlalchemy.util._collections", "sqlalchemy.orm.scoping", "__main__"},
        ),
    ],
    ids=["django", "sqlalchemy"],
)
def test_a_server_does_not_start_if_connections_are_kept_by_thread_already(
    spawn: Callable[..., Process], before: str, names: set[str]
) -> None:
    late = "from meinheld import patch, server; patch.patch_local()"
    process = spawn([sys.executable, "-c", f"{before}\n{late}\nserver.run(print)"])
    assert process.wait() == 1
    found = re.search(
        r"^RuntimeError: patch_local.* came after (.*), which keeps", process.log, re.M
    )
    assert found and names <= {*found[1].split(" and ")}
