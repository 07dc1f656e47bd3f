"""A chat in Flask, with the page next to it: python examples/chat/chat.py [PORT]

Readers are told of messages by WebSocket, server-sent events or long-poll; for each a view waits.
A reader's place in a room is a number of the room's channel. After a restart it is none any more,
so the reader gets all that is kept, and drops what it has. A writer sends again what it was not
told is kept, by the same id, which is kept once. So nothing is lost, and nothing comes twice.

CHAT_FILE, in the environment, names the file in which the messages outlive the server."""

import json
import os
import re
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from flask import Flask, Response, abort, request, send_file
from meinheld import server, sse, sse_headers
from meinheld.sync import channel
from meinheld.websocket import WebSocketClosed, WebSocketMiddleware

KEPT = 50  # messages of a room
ROOMS = 100  # that keep messages; beyond them, the one that has been quiet for longest has to go
NAME = 40  # characters of a name
TEXT = 4096  # bytes of a text
BODY = 32768  # bytes of a message in JSON, where a text may be six times as long
WAIT = 20  # seconds after which a reader is told that nothing is new

lock = threading.Lock()  # of what follows; nobody waits for messages while holding it
rooms = {}  # when the last message came, by name, the longest quiet one first
file = os.environ.get("CHAT_FILE", "chat.sqlite3")
db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
db.executescript("""PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS message (at INTEGER PRIMARY KEY, room TEXT NOT NULL,
        uuid TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (room, uuid))""")
OLD = "SELECT at FROM message WHERE room = ? ORDER BY at DESC LIMIT -1 OFFSET ?"


def say(room, data):
    """Keeps and publishes a message, unless it is kept already. The answer is when it came, in
    microseconds since 1970, by which messages are in order, or else what is wrong."""
    try:
        message = json.loads(data)
        uuid, name, text = (message[key].strip() for key in ("id", "name", "text"))
        size, _ = len(text.encode()), name.encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {"error": "a message is JSON with an id, a name and a text"}, 400
    if not (re.fullmatch("[0-9a-f-]{36}", uuid) and 0 < len(name) <= NAME and text):
        return {"error": f"a message has a UUID, 1 to {NAME} characters of a name, and a text"}, 400
    if size > TEXT:
        return {"error": f"a text has at most {TEXT} bytes"}, 413
    with lock:
        for (at,) in db.execute("SELECT at FROM message WHERE room = ? AND uuid = ?", (room, uuid)):
            return {"at": at}, 200
        (last,) = db.execute("SELECT ifnull(max(at), 0) FROM message").fetchone()
        at = max(time.time_ns() // 1000, last + 1)
        db.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", (at, room, uuid, name, text))
        db.execute(f"DELETE FROM message WHERE at IN ({OLD})", (room, KEPT))
        publish(at, room, uuid, name, text)
    return {"at": at}, 200


def publish(at, room, uuid, name, text):
    rooms.pop(room, None)
    rooms[room] = at
    channel(room, KEPT).publish(json.dumps({"at": at, "id": uuid, "name": name, "text": text}))
    if len(rooms) > ROOMS:
        rooms.pop(quiet := next(iter(rooms)))
        channel(quiet, KEPT).clear()
        db.execute("DELETE FROM message WHERE room = ?", (quiet,))


def all_news(reader, seconds=0):
    """What is new to a reader, as JSON, again and again, at first in so many seconds."""
    while True:
        new = ", ".join(reader.get_all(seconds))
        yield f'{{"after": {reader.id}, "missed": {reader.missed}, "messages": [{new}]}}'
        seconds = WAIT


def listen(ws, room):
    """Takes what a page says by its WebSocket, and answers it."""
    with suppress(WebSocketClosed):
        for data in ws:
            ws.send(json.dumps(say(room, data)[0]))


def same_site(origin, environ):
    return origin is None or origin.partition("://")[2] == environ["HTTP_HOST"]


for row in db.execute("SELECT * FROM message ORDER BY at").fetchall():
    publish(*row)
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = BODY
app.register_error_handler(WebSocketClosed, lambda closed: "")  # which nobody gets
app.wsgi_app = WebSocketMiddleware(app.wsgi_app, allow_origin=same_site, max_size=BODY)
app.add_url_rule("/", view_func=lambda: send_file(Path(__file__).resolve().with_name("chat.html")))


def reader_of(room):
    """A reader in a room, at the place that its page names."""
    if not re.fullmatch("[a-z0-9-]{1,32}", room):
        abort(404)
    return channel(room, KEPT).subscribe(request.args.get("after", "0"))


@app.get("/rooms")
def list_rooms():
    with lock:
        return {"rooms": [{"name": room, "at": at} for room, at in reversed(rooms.items())]}


@app.post("/rooms/<room>/messages")
def post(room):
    reader_of(room)
    if not request.is_json:  # as no form on another site is
        abort(415)
    return say(room, request.get_data())


@app.get("/rooms/<room>/messages")
def poll(room):
    news = all_news(reader_of(room), 0 if "now" in request.args else WAIT)
    return Response(next(news), content_type="application/json")


@app.get("/rooms/<room>/events")
def events(room):
    news = all_news(reader_of(room))
    return Response(sse({"data": text} for text in news), headers=sse_headers())


@app.get("/rooms/<room>/socket", websocket=True)
def socket(room):
    reader = reader_of(room)
    ws = request.environ["wsgi.websocket"]
    server.spawn(listen, (ws, room))
    for text in all_news(reader):
        ws.send(text)


if __name__ == "__main__":
    port = server.listen(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
    print(f"http://127.0.0.1:{port}/", flush=True)
    server.run(app, silent=True)
