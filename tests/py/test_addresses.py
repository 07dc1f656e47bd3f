"""Where a request came to, and from where: SERVER_*, REMOTE_*, SCRIPT_NAME, and the URL that an
application makes of them, by each kind of listener."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from harness import Server, environ_of
from meinheld import server as settings
from rawclient import Client, request

Serve = Callable[..., Server]
ENVIRON = "apps.environ:app"


def url_of(environ: dict[str, Any]) -> str:
    """The request's URL, by the steps of PEP 3333, "URL Reconstruction"."""
    scheme = environ["wsgi.url_scheme"]
    host = environ.get("HTTP_HOST")
    if not host:
        host = environ["SERVER_NAME"]
        if environ["SERVER_PORT"] != {"https": "443", "http": "80"}[scheme]:
            host += ":" + environ["SERVER_PORT"]
    path = quote(environ.get("SCRIPT_NAME", ""), encoding="latin-1")
    path += quote(environ.get("PATH_INFO", ""), encoding="latin-1")
    query = environ.get("QUERY_STRING")
    return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")


# The address of a listener, and how a URL names it: with a port if there is one, as {}.
LISTENERS: list[tuple[Any, str, str]] = [
    (("127.0.0.1", 0), "127.0.0.1:{}", "127.0.0.1"),
    (("0.0.0.0", 0), "127.0.0.1:{}", "127.0.0.1"),
    (("::1", 0), "[::1]:{}", "::1"),
    (("::", 0), "[::1]:{}", "::1"),
    ("unix", "localhost", ""),
]


@pytest.fixture
def listeners(serve: Serve, unix_path: str) -> Server:
    """A server with a listener of each kind."""
    addresses = [unix_path if address == "unix" else address for address, _, _ in LISTENERS]
    return serve(ENVIRON, address=addresses[0], more=tuple(addresses[1:]))


def connect(server: Server, listener: int) -> Client:
    address = server.addresses[listener]
    if isinstance(address, tuple) and address[0] in ("0.0.0.0", "::"):
        return Client(({"0.0.0.0": "127.0.0.1", "::": "::1"}[address[0]], address[1]))
    return Client(address)


def port_of(server: Server, listener: int) -> str:
    address = server.addresses[listener]
    return str(address[1]) if isinstance(address, tuple) else ""


def test_the_url_of_a_request_without_host_names_its_listener(listeners: Server) -> None:
    for listener, (_, name, _) in enumerate(LISTENERS):
        host = name.format(port_of(listeners, listener))
        for path in ("/", "/a%20b/c?d=%20e", "/caf%C3%A9", "/x?"):
            for _ in range(2):
                with connect(listeners, listener) as client:
                    data = request(path, version="HTTP/1.0", host=None)
                    environ = environ_of(client, data)
                assert "HTTP_HOST" not in environ
                assert url_of(environ) == f"http://{host}{path.rstrip('?')}"
                with connect(listeners, listener) as client:
                    assert url_of(environ_of(client, request(path, host=""))) == url_of(environ)


def test_the_url_of_a_request_with_host_names_that(listeners: Server) -> None:
    for listener in range(len(LISTENERS)):
        with connect(listeners, listener) as client:
            for host in ("shop", "shop:81", "[2001:db8::1]", "[2001:db8::1]:81"):
                environ = environ_of(client, request("/a?b", host=host))
                assert url_of(environ) == f"http://{host}/a?b"
            assert (
                url_of(environ_of(client, request("http://other:81/a?b"))) == "http://other:81/a?b"
            )
            assert url_of(environ_of(client, request("*", method="OPTIONS"))) == "http://test"


def test_the_peer_is_named_by_each_listener(listeners: Server) -> None:
    for listener, (_, _, address) in enumerate(LISTENERS):
        for _ in range(2):
            with connect(listeners, listener) as client:
                environ = environ_of(client, request("/"))
                port = str(client.socket.getsockname()[1]) if address else ""
            assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == (address, port)


def test_an_ipv4_peer_of_an_ipv6_listener_has_its_own_address(listeners: Server) -> None:
    port = listeners.addresses[3][1]
    assert isinstance(port, int)
    with Client(("127.0.0.1", port)) as client:
        environ = environ_of(client, request("/", version="HTTP/1.0", host=None))
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert url_of(environ) == f"http://127.0.0.1:{port}/"


def test_all_of_it_is_str(listeners: Server) -> None:
    keys = ("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "REMOTE_PORT", "SCRIPT_NAME", "PATH_INFO")
    for listener in range(len(LISTENERS)):
        with connect(listeners, listener) as client:
            environ = environ_of(client, request("/"))
        assert {type(environ[key]) for key in keys} == {str}
        assert environ["SERVER_NAME"] and environ["SERVER_PORT"]


# ---- what a deployer sets


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/shop", ""),
        ("/shop/", "/"),
        ("/shop/a%20b", "/a b"),
        ("/%73hop/a", "/a"),
        ("/shop%2Fa", "/a"),
        ("/shop/shop", "/shop"),
        # What a proxy has cut already, or what is none of it.
        ("/", "/"),
        ("/a", "/a"),
        ("/shops", "/shops"),
        ("/Shop/a", "/Shop/a"),
    ],
)
def test_script_name_is_taken_off_the_path(serve: Serve, target: str, path: str) -> None:
    with serve("apps.mounted:app").connect() as client:
        for fields in ([], [("X", "y")], [("X", "y"), ("X", "z")]):
            for _ in range(3):
                environ = environ_of(client, request(target, fields=fields))
                assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/shop", path)
                assert environ["RAW_URI"] == target


def test_the_url_holds_what_the_deployer_has_set(serve: Serve) -> None:
    with serve("apps.mounted:app").connect() as client:
        for target in ("/shop/a?b", "/a?b"):
            environ = environ_of(client, request(target, host="shop"))
            assert url_of(environ) == "https://shop/shop/a?b"
        assert environ["shop.config"] == "a.ini"


@pytest.mark.parametrize(
    ("variables", "error", "message"),
    [
        ({1: "x"}, TypeError, "a variable of environ and its value must be str: 1, 'x'"),
        ({"X": 1}, TypeError, "a variable of environ and its value must be str: 'X', 1"),
        ({"X": "\u2713"}, ValueError, "environ holds latin-1 alone"),
        ({"SCRIPT_NAME": "shop"}, ValueError, "SCRIPT_NAME begins with /"),
        ({"SCRIPT_NAME": "/shop/"}, ValueError, "SCRIPT_NAME begins with /"),
        ({"SCRIPT_NAME": "/"}, ValueError, "SCRIPT_NAME begins with /"),
        ({"wsgi.url_scheme": "ftp"}, ValueError, "wsgi.url_scheme must be http or https"),
        ({"wsgi.input": "x"}, ValueError, "wsgi.input is the server's to say"),
        ({"PATH_INFO": "/"}, ValueError, "PATH_INFO is the server's to say"),
        ({"HTTP_X": "x"}, ValueError, "HTTP_X is the server's to say"),
        ({"REMOTE_ADDR": "x"}, ValueError, "REMOTE_ADDR is the server's to say"),
    ],
)
def test_a_variable_that_can_not_be_set_is_refused_by_name(
    variables: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        settings.set_environ(variables)
    assert settings.get_environ() == {}


def test_variables_are_those_of_the_last_call() -> None:
    given = {"SCRIPT_NAME": "/a", "a.b": "c"}
    settings.set_environ(given)
    given["a.b"] = "changed"
    assert settings.get_environ() == {"SCRIPT_NAME": "/a", "a.b": "c"}
    settings.set_environ({})
    assert settings.get_environ() == {}
