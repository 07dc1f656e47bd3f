"""Asks databases, and others, by clients that know nothing of loops: all are patched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from meinheld import patch

from apps import App, Environ, StartResponse, answer, by_path

patch.patch_all()  # what is to be patched is imported by the functions below

Ask = Callable[[dict[str, str]], object]


def told(ask: Ask) -> App:
    """An app that tells what comes of its query, in JSON."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        query = {key: values[0] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
        try:
            found = ask(query)
        except Exception as exc:
            found = f"{type(exc).__name__}: {exc}"
        return answer(start_response, json.dumps(found, default=str).encode())

    return app


def execute(connect: Callable[[], Any]) -> Ask:
    """Executes each of `sql`'s statements, in one transaction, and returns the rows of the last."""

    def ask(query: dict[str, str]) -> object:
        connection = connect()
        try:
            cursor = connection.cursor()
            for statement in query["sql"].split(";"):
                cursor.execute(statement)
            rows = [list(row) for row in cursor.fetchall()] if cursor.description else []
            connection.commit()
            return rows
        finally:
            connection.close()

    return ask


def psycopg_connect() -> Any:
    import psycopg

    return psycopg.connect()


def psycopg2_connect() -> Any:
    import psycopg2

    return psycopg2.connect("")


def notified(query: dict[str, str]) -> object:
    """What psycopg is notified of in so many seconds, at most one."""
    import psycopg

    with psycopg.connect(autocommit=True) as connection:
        connection.execute("LISTEN news")
        found = connection.notifies(timeout=float(query["seconds"]), stop_after=1)
        return [notify.payload for notify in found]


def mysql_connect() -> Any:
    import pymysql

    return pymysql.connect(unix_socket=os.environ["MARIADB"], user="root")


def redis_client() -> Any:
    import redis

    return redis.Redis(unix_socket_path=os.environ["REDIS"], decode_responses=True)


def pop(query: dict[str, str]) -> object:
    with redis_client() as client:
        found: object = client.blpop(query["key"], timeout=0)
        return found


def push(query: dict[str, str]) -> object:
    with redis_client() as client:
        found: object = client.rpush(query["key"], query["value"])
        return found


pools: dict[str, Any] = {}


def fetch(query: dict[str, str]) -> object:
    """By urllib3, with one pool of connections for all requests."""
    import urllib3

    pool = pools.setdefault("urllib3", urllib3.PoolManager(maxsize=50, retries=False))
    found = pool.request("GET", query["url"], timeout=float(query.get("timeout", 30)))
    return found.data.decode()


def fetch_by_requests(query: dict[str, str]) -> object:
    import requests

    session = pools.setdefault("requests", requests.Session())
    found = session.get(query["url"], timeout=float(query.get("timeout", 30)))
    return found.text


if os.environ.get("PATCH") == "psycopg":
    patch.patch_psycopg()
if os.environ.get("PATCH") == "psycopg2":
    patch.patch_psycopg2()

app = by_path(
    {
        "/fetch": told(fetch),
        "/fetch-by-requests": told(fetch_by_requests),
        "/hello": told(lambda query: "hello"),
        "/notified": told(notified),
        "/pop": told(pop),
        "/psycopg": told(execute(psycopg_connect)),
        "/psycopg2": told(execute(psycopg2_connect)),
        "/push": told(push),
        "/pymysql": told(execute(mysql_connect)),
    }
)
