"""The page of the chats, in Chromium: what those who use it see.

A person has a browser profile of its own. What it shows is awaited, in order and in number: a
message that was lost, or came twice, is seen."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from chats import CHATS, chat_environment, new_room, serve_chat
from harness import PATIENCE, Server, tool, wait_until

if not os.environ.get("CI"):  # where they are never left out
    pytest.importorskip("playwright")
    pytest.importorskip("axe_playwright_python")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

Serve = Callable[..., Server]

WORDS = {"websocket": "WebSocket", "sse": "server-sent events", "poll": "long-poll"}
MARKUP = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'><b>bold</b>"


class Person:
    """Somebody who has a page of the chat open."""

    def __init__(self, page: Page, url: str, room: str, name: str) -> None:
        self.page = page
        self.errors: list[object] = []
        page.on("pageerror", lambda error: self.errors.append(error))
        page.goto(f"{url}/#{room}")
        self.state = page.locator("#state")
        self.text = page.get_by_label("Message", exact=True)
        self.log = page.get_by_role("log")
        name_field = page.get_by_label("Name")
        name_field.fill(name)
        name_field.blur()

    def say(self, text: str) -> None:
        """Types text and presses Enter."""
        self.text.fill(text)
        self.text.press("Enter")

    def choose(self, transport: str) -> None:
        """Has the page use that transport, or "auto"."""
        self.page.get_by_label("Transport").select_option(transport)
        if transport != "auto":
            self.expect_transport(transport)

    def expect_transport(self, transport: str) -> None:
        expect(self.state).to_have_text(f"Connected by {WORDS[transport]}")

    def expect_lost(self) -> None:
        expect(self.state).not_to_have_attribute("data-state", "connected")

    def texts(self, kind: str = ":not(.pending)") -> Locator:
        return self.page.locator(f".message{kind} .text")

    def expect_texts(self, *texts: str) -> None:
        """All that was said, as the server has it, is that, in that order; nothing is pending."""
        expect(self.texts()).to_have_text(list(texts))
        expect(self.texts(".pending")).to_have_count(0)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    path = tool("chromium")
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox"] if os.geteuid() == 0 else [],  # which it can't have as root
        )
        yield browser
        browser.close()


@pytest.fixture
def person(browser: Browser) -> Iterator[Callable[..., Person]]:
    """person(url, room, "Ada", **options): opens a page; options are those of a browser context."""
    people = []
    with ExitStack() as stack:

        def come(url: str, room: str, name: str = "Ada", **options: Any) -> Person:
            context = stack.enter_context(browser.new_context(**options))
            context.set_default_timeout(PATIENCE * 1000)
            people.append(Person(context.new_page(), url, room, name))
            return people[-1]

        yield come
    assert [error for each in people for error in each.errors] == []


Come = Callable[..., Person]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of Flask's chat."""
    with serve_chat("chat", tmp_path_factory.mktemp("chat")) as server:
        yield server


@pytest.fixture(scope="module", params=CHATS)
def each_server(
    request: pytest.FixtureRequest, serve_site: Serve, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """Of each chat, in each mode."""
    file = tmp_path_factory.mktemp("chat") / "chat.sqlite3"
    return serve_site(f"{request.param}:app", env=chat_environment(file))


@pytest.fixture
def room() -> str:
    return new_room()


def abort(route: Route) -> None:
    route.abort()


# ---- transports


@pytest.mark.parametrize("transport", list(WORDS))
def test_two_see_what_each_other_says(
    each_server: Server, person: Come, room: str, transport: str
) -> None:
    ada, eve = (person(each_server.url, room, name) for name in ("Ada", "Eve"))
    for each in (ada, eve):
        each.choose(transport)
    ada.say("one")
    eve.expect_texts("one")
    eve.say("two")
    ada.expect_texts("one", "two")
    ada.say("three\nfour")
    eve.expect_texts("one", "two", "three\nfour")
    expect(eve.page.locator(".message .name")).to_have_text(["Ada", "Eve", "Ada"])
    expect(eve.page.locator(".mine .text")).to_have_text(["two"])


def test_a_page_chooses_a_websocket_by_itself(server: Server, person: Come, room: str) -> None:
    person(server.url, room).expect_transport("websocket")


def test_a_page_falls_back_to_what_is_let_through(server: Server, person: Come, room: str) -> None:
    ada, eve, ida = (person(server.url, room, name) for name in ("Ada", "Eve", "Ida"))
    for each in (ada, eve):
        each.page.context.route_web_socket("**/socket*", lambda ws: ws.close())
    eve.page.context.route("**/events*", abort)
    for each in (ada, eve):
        each.page.reload()
    ada.expect_transport("sse")
    eve.expect_transport("poll")
    ida.expect_transport("websocket")
    for number, each in enumerate((ada, eve, ida)):
        each.say(str(number))
        ida.expect_texts(*map(str, range(number + 1)))
    for each in (ada, eve, ida):
        each.expect_texts("0", "1", "2")


def test_a_transport_that_is_chosen_is_not_left(server: Server, person: Come, room: str) -> None:
    ada = person(server.url, room)
    ada.choose("sse")
    ada.page.context.route("**/events*", abort)
    ada.page.reload()
    expect(ada.state).to_contain_text("No connection, next try in")
    expect(ada.page.get_by_label("Transport")).to_have_value("sse")
    ada.page.evaluate("failures = 10")  # from then on it waits for a quarter of a minute
    expect(ada.state).to_contain_text(re.compile("next try in [1-3][0-9] s"))
    ada.page.context.unroute("**/events*")
    ada.page.get_by_role("button", name="Try now").click()
    ada.expect_transport("sse")


# ---- nothing is lost, and nothing comes twice


@pytest.mark.parametrize(
    ("chat", "transport"),
    [("chat", "websocket"), ("chat", "sse"), ("chat", "poll"), ("chat_django", "auto")],
)
def test_what_is_said_while_the_server_is_dead_comes_once_it_is_back(
    person: Come, room: str, tmp_path: Path, chat: str, transport: str
) -> None:
    with serve_chat(chat, tmp_path, status=-signal.SIGKILL) as server:
        ada, eve = (person(server.url, room, name) for name in ("Ada", "Eve"))
        for each in (ada, eve):
            each.choose(transport)
        ada.say("one")
        eve.expect_texts("one")
        eve.say("two")
        ada.expect_texts("one", "two")
        server.kill()
    for each in (ada, eve):
        each.expect_lost()
    for text in ("three", "four"):
        ada.say(text)
    expect(ada.texts(".pending")).to_have_text(["three", "four"])
    expect(ada.texts()).to_have_text(["one", "two"])
    with serve_chat(chat, tmp_path, server.port) as server:
        for each in (ada, eve):
            each.expect_texts("one", "two", "three", "four")
        eve.say("five")
        for each in (ada, eve):
            each.expect_texts("one", "two", "three", "four", "five")
        assert eve.page.locator(".gap").count() == 0
        # Who comes only now sees the same.
        person(server.url, room, "Ida").expect_texts("one", "two", "three", "four", "five")


def test_a_message_whose_answer_is_lost_is_not_said_twice(
    server: Server, person: Come, room: str
) -> None:
    ada, eve = (person(server.url, room, name) for name in ("Ada", "Eve"))
    for each in (ada, eve):
        each.choose("poll")
    lost: list[int] = []

    def lose_the_first(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.fetch().status)
            route.abort()
        else:
            route.continue_()

    ada.page.context.route("**/messages", lose_the_first)
    ada.say("once")
    eve.expect_texts("once")
    ada.expect_texts("once")
    ada.say("then")
    for each in (ada, eve):
        each.expect_texts("once", "then")
    assert lost == [200]


def test_what_is_not_sent_yet_outlives_the_page(server: Server, person: Come, room: str) -> None:
    ada, eve = (person(server.url, room, name) for name in ("Ada", "Eve"))
    ada.choose("sse")
    ada.page.context.route("**/messages", abort)
    ada.say("later")
    expect(ada.texts(".pending")).to_have_text(["later"])
    ada.page.reload()
    expect(ada.texts(".pending")).to_have_text(["later"])
    ada.page.context.unroute("**/messages")
    eve.expect_texts("later")
    ada.expect_texts("later")


def test_a_message_that_is_refused_can_be_taken_back(
    server: Server, person: Come, room: str
) -> None:
    ada = person(server.url, room)
    ada.choose("poll")

    def refuse(route: Route) -> None:
        route.fulfill(status=400, json={"error": "we are not amused"})

    ada.page.context.route("**/messages", refuse)
    ada.say("a joke")
    expect(ada.page.locator(".refused .meta")).to_have_text("Not sent: we are not amused")
    ada.page.context.unroute("**/messages")
    ada.say("something else")
    expect(ada.texts()).to_have_text(["something else"])
    ada.page.get_by_role("button", name="Take back").click()
    expect(ada.text).to_have_value("a joke")
    expect(ada.text).to_be_focused()
    ada.expect_texts("something else")


def test_what_was_missed_for_good_is_told(server: Server, person: Come, room: str) -> None:
    ada, eve = (person(server.url, room, name) for name in ("Ada", "Eve"))
    ada.choose("poll")
    ada.say("first")
    ada.expect_texts("first")
    ada.page.context.route("**/messages*", abort)
    ada.page.evaluate("retryNow()")
    ada.expect_lost()
    post = (
        "async (n) => { for (; n; n--) await post({room, id: newId(), name: 'Eve', text: `${n}`}) }"
    )
    eve.page.evaluate(post, 51)
    ada.page.context.unroute("**/messages*")
    ada.expect_texts("first", *(str(number) for number in range(50, 0, -1)))
    expect(ada.page.locator(".gap")).to_have_count(1)


# ---- rooms


def test_each_room_has_its_own_messages_and_tells_of_new_ones(
    server: Server, person: Come, room: str
) -> None:
    ada, eve = (person(server.url, room, name) for name in ("Ada", "Eve"))
    other = new_room()
    eve.page.get_by_label("Another room").fill(other.upper())
    eve.page.get_by_label("Another room").press("Enter")
    expect(eve.page).to_have_url(f"{server.url}/#{other}")
    expect(eve.page.get_by_role("heading", level=1)).to_have_text(other)
    eve.say("here")
    eve.expect_texts("here")
    ada.say("there")
    ada.expect_texts("there")
    ada.page.evaluate("listRooms()")
    link = ada.page.get_by_role("link", name=other)
    expect(link).to_have_accessible_name(f"{other} (new messages)")
    link.click()
    ada.expect_texts("here")
    ada.page.go_back()
    ada.expect_texts("there")
    expect(ada.page.get_by_role("link", name=other)).to_have_accessible_name(other)


# ---- the page


def test_markup_in_a_message_and_in_a_name_is_text(server: Server, person: Come, room: str) -> None:
    name = "<script>ran=1</script><img src=x onerror=ran=1>"[:40]
    ada, eve = person(server.url, room, name), person(server.url, room, "Eve")
    ada.say(MARKUP)
    for each in (ada, eve):
        each.expect_texts(MARKUP)
        expect(each.page.locator(".message .name")).to_have_text([name])
        assert each.page.locator("#list :is(script, img, b)").count() == 0
        assert each.page.evaluate("typeof window.ran") == "undefined"


def test_all_can_be_done_by_the_keyboard(server: Server, person: Come, room: str) -> None:
    ada, eve = (person(server.url, room, name) for name in ("Ada", "Eve"))
    page = ada.page
    expect(ada.text).to_have_count(1)
    ada.text.focus()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    expect(ada.text).to_have_value("")
    expect(ada.text).to_be_focused()
    eve.expect_texts("one\ntwo")

    seen = {}
    for _ in range(30):
        page.keyboard.press("Tab")
        where = page.evaluate("document.activeElement.id || document.activeElement.textContent")
        outline = page.evaluate("getComputedStyle(document.activeElement).outline")
        if where in seen:
            break
        seen[where] = outline
    everything = {"name", "transport", room, "room", "Enter", "log", "text", "send"}
    assert everything <= set(seen), seen
    for where in everything:
        assert re.search(r"solid [2-9]px|[2-9]px.* solid|solid.* [2-9]px", seen[where]), seen

    page.get_by_label("Transport").focus()
    page.keyboard.type("long")  # as in any list
    ada.expect_transport("poll")
    page.get_by_label("Another room").focus()
    page.keyboard.type(other := new_room())
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(other)
    expect(ada.text).to_be_focused()
    page.get_by_role("link", name="lobby", exact=False).first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("lobby")


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(
    server: Server, person: Come, room: str, width: int
) -> None:
    room = ("long-" * 8)[:32]
    size = {"width": width, "height": 640}
    name = "W" * 40
    ada = person(server.url, room, name, viewport=size)
    ada.say("W" * 1000)
    ada.say("word " * 200)
    expect(ada.texts(".mine:not(.pending)")).to_have_count(2)
    page = ada.page
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("log.scrollWidth <= log.clientWidth")
    for label in ["Name", "Transport", "Another room", "Message"]:
        box = page.get_by_label(label, exact=True).bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= 640
    expect(page.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_an_audit_of_accessibility_finds_nothing(
    server: Server, person: Come, room: str, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 720}
    eve = person(server.url, room, "Eve")
    ada = person(server.url, room, "Ada", color_scheme=scheme, viewport=size)
    expect(ada.log).to_have_attribute("aria-live", "polite")
    ada.choose("poll")
    eve.say("hello")
    ada.say("hello, too")
    for each in (ada, eve):
        expect(each.texts()).to_have_count(2)
    light = ada.page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((each) => each > 127)"
    )
    assert light == (scheme == "light")
    ada.page.context.route("**/messages", lambda route: route.fulfill(status=400, json={}))
    ada.say("refused")
    expect(ada.page.locator(".refused")).to_have_count(1)
    ada.page.context.route("**/messages*", abort)
    ada.page.evaluate("retryNow()")
    ada.say("pending")
    expect(ada.page.get_by_role("button", name="Try now")).to_be_visible()
    # Links to rooms are links within the page. Where they are out of sight, in a strip that
    # scrolls, they are taken for such as skip to a part of it.
    found = Axe().run(ada.page, options={"rules": {"skip-link": {"enabled": False}}})
    assert found.violations_count == 0, found.generate_report()


def test_who_reads_what_is_further_up_stays_there(server: Server, person: Come, room: str) -> None:
    ada, eve = (person(server.url, room, name) for name in ("Ada", "Eve"))
    ada.say("\n".join("line" for _ in range(99)))
    expect(ada.texts()).to_have_count(1)

    def is_at_end() -> object:
        return ada.page.evaluate("log.scrollHeight - log.scrollTop - log.clientHeight < 2")

    wait_until(is_at_end, "at the end")
    ada.log.hover()
    ada.page.mouse.wheel(0, -9999)
    wait_until(lambda: ada.page.evaluate("log.scrollTop === 0 && !follows"), "at the beginning")
    eve.say("one")
    newer = ada.page.get_by_role("button", name="new message")
    expect(newer).to_have_text("↓ 1 new message")
    eve.say("two")
    expect(newer).to_have_text("↓ 2 new messages")
    assert ada.page.title() == f"(2) #{room} - Chat"
    assert ada.page.evaluate("log.scrollTop") == 0
    newer.click()
    wait_until(is_at_end, "at the end")
    expect(newer).to_be_hidden()
    assert ada.page.title() == f"#{room} - Chat"
    eve.say("three")
    expect(ada.texts()).to_have_count(4)
    wait_until(is_at_end, "at the end")


def test_a_text_that_is_too_long_stays_where_it_was_typed(
    server: Server, person: Come, room: str
) -> None:
    ada = person(server.url, room)
    ada.say("é" * 2050)
    expect(ada.page.locator("#hint")).to_have_text("Too long by 4 bytes.")
    expect(ada.text).to_have_value("é" * 2050)
    ada.say("é" * 2048)
    ada.expect_texts("é" * 2048)


def test_a_name_and_a_transport_are_remembered(server: Server, person: Come, room: str) -> None:
    ada = person(server.url, room, "Ada Lovelace")
    ada.choose("sse")
    ada.say("mine")
    ada.expect_texts("mine")
    ada.page.reload()
    expect(ada.page.get_by_label("Name")).to_have_value("Ada Lovelace")
    ada.expect_transport("sse")
    expect(ada.texts(".mine")).to_have_text(["mine"])
