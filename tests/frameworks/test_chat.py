"""The chats of the examples, as their page talks to them: no message is lost, none comes twice."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from chats import CHATS, HERE, Room, chat_environment, message, serve_chat, texts
from harness import PATIENCE, Process, Server, wait_until
from rawclient import Client, request
from talker import Talker
from visitor import http_client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

Serve = Callable[..., Server]
Run = Callable[..., tuple[Process, tuple[str, int]]]


@pytest.fixture(scope="module", params=CHATS)
def chat(request: pytest.FixtureRequest) -> str:
    """The module of one of them."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def server(chat: str, serve_site: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    file = tmp_path_factory.mktemp("chat") / "chat.sqlite3"
    return serve_site(f"{chat}:app", env=chat_environment(file))


@pytest.fixture
def room(http: httpx.Client) -> Room:
    return Room(http)


def socket_of(server: Server, room: Room, origin: str | None = None) -> Talker:
    url = f"{server.url.replace('http', 'ws')}/rooms/{room.name}/socket"
    return Talker(url, proxy=None, origin=Origin(origin) if origin else None)


# ---- the files


def test_the_flask_chat_is_one_short_file_and_the_page_needs_nothing_else() -> None:
    assert len((HERE / "chat.py").read_text().splitlines()) < 150
    page = (HERE / "chat.html").read_text()
    assert not re.findall(
        r"\bsrc\s*=|url\(|@import|\bimport\s*\(|https?://(?!www\.w3\.org/2000)", page
    )
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", page)


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_runs_as_its_first_line_says(
    run_example: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("CHAT_FILE", str(tmp_path / "file"))
    _, address = run_example(f"chat/{name}.py")
    with Client(address) as client:
        response = client.get("/", host="localhost")
        assert response.body == (HERE / "chat.html").read_bytes()
        assert str(response.get("Content-Type")).startswith("text/html")
    assert (tmp_path / "file").exists()


# ---- what is said


def test_a_poll_waits_for_what_is_said_after_its_place(server: Server, room: Room) -> None:
    first = room.say("one", name="Eve")
    news = room.poll()
    assert texts(news) == ["one"]
    assert news["messages"][0]["name"] == "Eve"
    assert news["messages"][0]["at"] == first
    with server.connect(timeout=PATIENCE) as waiting:
        waiting.send(request(f"{room.path}?after={news['after']}", host="localhost"))
        assert room.look(news["after"])["messages"] == []
        assert not waiting.has_input()
        assert room.say("two") > first
        later = json.loads(waiting.read_response().body)
    assert texts(later) == ["two"]
    assert later["missed"] == 0
    assert texts(room.look()) == ["one", "two"]


def test_what_is_sent_again_is_kept_once(server: Server, room: Room) -> None:
    said = message("once")

    def send(_: int) -> int:
        with http_client(server) as client:
            response = Room(client, room.name).post(said)
            assert response.status_code == 200
            at: int = response.json()["at"]
            return at

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(send, range(12)))) == 1
    assert texts(room.look()) == ["once"]
    assert texts(Room(room.client).look()) == []


# What is no message, made of one that would be, and how it is refused.
NO_MESSAGES: dict[str, tuple[object, int]] = {
    "id of another form": ({"id": "1"}, 400),
    "empty id": ({"id": ""}, 400),
    "blank name": ({"name": " "}, 400),
    "long name": ({"name": "n" * 41}, 400),
    "blank text": ({"text": " \n "}, 400),
    "no text": ({"text": None}, 400),
    "long text": ({"text": "é" * 2048 + "."}, 413),
    "large body": ({"more": "." * 32768}, 413),
    "list": (["id", "name", "text"], 400),
    "string": ("text", 400),
    "null": (None, 400),
}


@pytest.mark.parametrize(("said", "status"), NO_MESSAGES.values(), ids=NO_MESSAGES)
def test_a_message_that_is_none_is_refused(room: Room, said: object, status: int) -> None:
    response = room.post(message("text", **said) if isinstance(said, dict) else said)
    assert response.status_code == status
    assert response.content
    assert texts(room.look()) == []


@pytest.mark.parametrize("field", ["name", "text"])
def test_half_a_character_is_refused(room: Room, field: str) -> None:
    content = json.dumps(message("text", **{field: "half \ud83d"}))
    head = {"Content-Type": "application/json"}
    assert room.client.post(room.path, content=content, headers=head).status_code == 400


@pytest.mark.parametrize(
    "content", ["", "{", "[" * 20000, "\xff"], ids=["empty", "cut", "deep", "latin"]
)
def test_what_is_no_json_is_refused(room: Room, content: str) -> None:
    head = {"Content-Type": "application/json"}
    sent = content.encode("latin-1")
    assert room.client.post(room.path, content=sent, headers=head).status_code == 400


def test_the_largest_message_is_taken(room: Room) -> None:
    text = "\U0001f600" * 1024  # 4096 bytes, and 12 KiB in JSON
    room.say(text, name="N" * 40)
    assert texts(room.look()) == [text]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_only_json_is_taken_so_that_no_form_of_another_site_can_speak(
    room: Room, kind: str | None
) -> None:
    head = {"Content-Type": kind} if kind else {}
    content = json.dumps(message("text"))
    assert room.client.post(room.path, content=content, headers=head).status_code == 415


@pytest.mark.parametrize("name", ["A", "a_b", "%C3%A9", "a" * 33, "a%0A", "%20"])
def test_a_room_of_another_name_is_not_there(server: Server, raw: Client, name: str) -> None:
    for end in ["messages?now", "events"]:
        assert raw.get(f"/rooms/{name}/{end}", host="localhost").status == 404
    body = json.dumps(message("text")).encode()
    json_type = [("Content-Type", "application/json")]
    path = f"/rooms/{name}/messages"
    answer = raw.get(path, method="POST", fields=json_type, body=body, host="localhost")
    assert answer.status == 404


def test_a_room_keeps_the_last_50_and_tells_how_many_are_missed(room: Room) -> None:
    room.say("0")
    place = room.look()["after"]
    for number in range(1, 61):
        room.say(str(number))
    news = room.look(place)
    assert texts(news) == [str(number) for number in range(11, 61)]
    assert news["missed"] == 10
    assert [said["at"] for said in news["messages"]] == sorted(
        said["at"] for said in news["messages"]
    )


def test_rooms_are_listed_by_their_last_message(room: Room) -> None:
    other = Room(room.client)
    room.say("one")
    other.say("two")
    at = room.say("three")
    rooms = room.client.get("/rooms").json()["rooms"]
    assert rooms[0] == {"name": room.name, "at": at}
    assert rooms[1]["name"] == other.name


# ---- events


def read_events(response: httpx.Response) -> Iterator[dict[str, object]]:
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


def test_events_tell_what_is_there_and_then_what_is_new(room: Room) -> None:
    room.say("one")
    with room.client.stream("GET", f"/rooms/{room.name}/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        events = read_events(response)
        first = next(events)
        assert texts(first) == ["one"]
        room.say("two")
        second = next(events)
        assert texts(second) == ["two"]
    with room.client.stream(
        "GET", f"/rooms/{room.name}/events", params={"after": str(first["after"])}
    ) as response:
        assert next(read_events(response)) == second


# ---- WebSockets


def test_a_websocket_tells_what_is_new_and_answers_what_is_said(server: Server, room: Room) -> None:
    room.say("one")
    with socket_of(server, room) as ws:
        assert texts(json.loads(ws.recv())) == ["one"]
        said = message("two")
        for _ in range(2):
            ws.send(json.dumps(said))
        got = [json.loads(ws.recv()) for _ in range(3)]
        (news,) = (each for each in got if "messages" in each)
        assert [each["id"] for each in news["messages"]] == [said["id"]]
        at = news["messages"][0]["at"]
        assert [each for each in got if "messages" not in each] == [{"at": at}] * 2
        room.say("three")
        assert texts(json.loads(ws.recv())) == ["three"]
        ws.send("no message")
        assert json.loads(ws.recv())["error"]
        ws.send(json.dumps(message("é" * 2049)))
        assert "4096" in json.loads(ws.recv())["error"]
    assert texts(room.look()) == ["one", "two", "three"]


def test_a_websocket_is_closed_when_it_says_too_much(server: Server, room: Room) -> None:
    with socket_of(server, room) as ws:
        ws.recv()
        ws.send("." * 32769)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1009


def test_a_websocket_is_for_pages_of_this_server(server: Server, room: Room) -> None:
    with socket_of(server, room, origin=server.url) as ws:
        ws.recv()
    for origin in ["http://elsewhere.example", "null", f"{server.url}0"]:
        with pytest.raises(InvalidStatus) as refused:
            socket_of(server, room, origin=origin)
        assert refused.value.response.status_code == 403


# ---- over a restart


def test_messages_outlive_the_server_and_are_kept_once(chat: str, tmp_path: Path) -> None:
    last = message("last")
    with serve_chat(chat, tmp_path) as server, http_client(server) as client:
        room = Room(client)
        for number in range(60):
            room.say(str(number))
        at = room.post(last).json()["at"]
        before = room.look()
        rooms = client.get("/rooms").json()
    with serve_chat(chat, tmp_path) as server, http_client(server) as client:
        room = Room(client, room.name)
        assert client.get("/rooms").json() == rooms
        assert room.post(last).json()["at"] == at
        # The place is none of this run's: all comes again, and is told to be perhaps not all.
        news = room.look(before["after"])
        assert news["messages"] == before["messages"]
        assert news["missed"] > 0
        assert news["after"] > before["after"]
        assert room.say("new") > at
        assert texts(room.look(news["after"])) == ["new"]


def test_rooms_that_are_quiet_for_longest_go_when_there_are_too_many(
    chat: str, tmp_path: Path
) -> None:
    with serve_chat(chat, tmp_path) as server, http_client(server) as client:
        for number in range(102):
            Room(client, f"r{number}").say("text")
            if number == 99:
                Room(client, "r0").say("again")
        names = [room["name"] for room in client.get("/rooms").json()["rooms"]]
        assert len(names) == 100
        assert {"r1", "r2"}.isdisjoint(names)
        assert texts(Room(client, "r1").look()) == []
        assert texts(Room(client, "r0").look()) == ["text", "again"]
    with serve_chat(chat, tmp_path) as server, http_client(server) as client:
        assert [room["name"] for room in client.get("/rooms").json()["rooms"]] == names


def send_until_kept(room: Room, said: dict[str, object], stopped: threading.Event) -> None:
    """As the page does: the same until there is an answer."""
    while not stopped.is_set():
        try:
            assert room.post(said).status_code == 200
            return
        except httpx.TransportError:
            stopped.wait(0.01)


def wait_for_message(room: Room, number: int) -> None:
    wait_until(lambda: any(int(text) >= number for text in texts(room.look())), "said")


def test_no_message_is_lost_and_none_comes_twice_however_often_the_server_dies(
    chat: str, tmp_path: Path
) -> None:
    # As many as are kept, so that no reader is too late for one.
    name, stopped, count, runs = "room", threading.Event(), 48, 4
    sent = [message(str(number)) for number in range(count)]
    got: dict[str, int] = {}

    def send(url: str) -> None:
        with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:
            for said in sent:
                send_until_kept(Room(client, name), said, stopped)

    def read(url: str) -> None:
        after = 0
        with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:
            while len(got) < count and not stopped.is_set():
                try:
                    news = Room(client, name).poll(after)
                except httpx.TransportError:
                    stopped.wait(0.01)
                    continue
                after = news["after"]
                for said in news["messages"]:
                    assert got.setdefault(said["id"], said["at"]) == said["at"]

    with ThreadPoolExecutor(2) as pool:
        port = 0
        work: list[Future[None]] = []
        try:
            for run in range(runs):
                last = run == runs - 1
                status = 0 if last else -signal.SIGKILL
                with serve_chat(chat, tmp_path, port, status=status) as server:
                    port = server.port
                    work = work or [pool.submit(task, server.url) for task in (send, read)]
                    if last:
                        for each in work:
                            each.result(PATIENCE)
                    else:
                        with http_client(server) as client:
                            wait_for_message(Room(client, name), (run + 1) * count // runs)
                        server.kill()
        finally:
            stopped.set()
    assert sorted(got, key=got.__getitem__) == [said["id"] for said in sent]
