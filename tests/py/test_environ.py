"""environ, key by key: what it holds, how it is decoded, and that requests do not mix."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from harness import Server, environ_of
from rawclient import Client, request

Serve = Callable[..., Server]
ENVIRON = "apps.environ:app"

# What every request has, whatever it sends.
ALWAYS = {
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "RAW_URI",
    "REQUEST_URI",
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.input",
    "wsgi.errors",
    "wsgi.multithread",
    "wsgi.multiprocess",
    "wsgi.run_once",
    "wsgi.input_terminated",
    "wsgi.file_wrapper",
    "meinheld.client",
}


def test_a_plain_request_has_these_keys_and_no_others(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        environ = environ_of(client, request("/"))
    assert set(environ) == ALWAYS | {"HTTP_HOST"}


def test_a_request_of_http_1_0_has_the_same_keys(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        environ = environ_of(client, b"GET / HTTP/1.0\r\n\r\n")
    assert set(environ) == ALWAYS
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.0"


def test_each_key_has_its_value(serve: Serve, threads: int) -> None:
    server = serve(ENVIRON)
    with server.connect() as client:
        port = client.socket.getsockname()[1]
        fields = [("User-Agent", "x/1"), ("Content-Type", "text/x"), ("Accept", "*/*")]
        data = request("/a%20b/c?d=%20e", method="PUT", fields=fields, body=b"hello")
        environ = environ_of(client, data)
    assert environ.pop("SERVER_SOFTWARE").startswith("meinheld/")
    del environ["wsgi.input"], environ["wsgi.errors"], environ["wsgi.file_wrapper"]
    assert environ.pop("meinheld.client") == "Client"
    assert environ == {
        "REQUEST_METHOD": "PUT",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/c",
        "QUERY_STRING": "d=%20e",
        "RAW_URI": "/a%20b/c?d=%20e",
        "REQUEST_URI": "/a%20b/c?d=%20e",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": str(port),
        "CONTENT_TYPE": "text/x",
        "CONTENT_LENGTH": "5",
        "HTTP_HOST": "test",
        "HTTP_USER_AGENT": "x/1",
        "HTTP_ACCEPT": "*/*",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.multithread": threads > 0,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }


def test_an_ipv6_peer_has_its_address(serve: Serve) -> None:
    server = serve(ENVIRON, address=("::1", 0))
    with server.connect() as client:
        port = client.socket.getsockname()[1]
        environ = environ_of(client, request("/"))
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("::1", str(port))
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("[::1]", str(server.port))


def test_a_unix_peer_has_no_address_but_the_keys_are_there(serve: Serve, unix_path: str) -> None:
    with serve(ENVIRON, address=unix_path).connect() as client:
        environ = environ_of(client, request("/"))
    assert environ["REMOTE_ADDR"] == ""
    assert environ["SERVER_NAME"] != ""  # PEP 3333: never empty
    assert environ["SERVER_PORT"] != ""
    assert set(environ) | {"REMOTE_PORT"} == ALWAYS | {"HTTP_HOST"}


def test_each_of_several_peers_has_its_own_port(serve: Serve) -> None:
    server = serve(ENVIRON)
    clients = [server.connect() for _ in range(20)]
    try:
        for _ in range(3):
            for client in clients:
                client.send(request("/"))
            for client in clients:
                environ = json.loads(client.read_response().body)
                assert environ["REMOTE_PORT"] == str(client.socket.getsockname()[1])
    finally:
        for client in clients:
            client.close()


# ---- the target


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("/?", "/", ""),
        ("/?a", "/", "a"),
        ("/a?b?c", "/a", "b?c"),
        ("//a//b/../c/./", "//a//b/../c/./", ""),
        ("/a%2Fb", "/a/b", ""),
        ("/a+b", "/a+b", ""),
        ("/a;b=c", "/a;b=c", ""),
        ("/%25", "/%", ""),
        ("/%2541", "/%41", ""),
        ("/%c3%A9", "/\xc3\xa9", ""),
        ("/%ff", "/\xff", ""),
        ("/a%3Fb?c%3Fd", "/a?b", "c%3Fd"),
        ("/?%00%zz%", "/", "%00%zz%"),
        ("http://other/a?b", "/a", "b"),
        ("http://other", "/", ""),
        ("http://other?b", "/", "b"),
    ],
)
def test_the_target_is_split_and_its_path_decoded_once(
    serve: Serve, target: str, path: str, query: str
) -> None:
    with serve(ENVIRON).connect() as client:
        environ = environ_of(client, request(target))
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)
    assert environ["RAW_URI"] == environ["REQUEST_URI"] == target


def test_an_escape_of_any_byte_but_nul_in_the_path_harms_no_other_value(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        plain = environ_of(client, request("/", fields=[("X", "y")]))
        for byte in range(1, 256):
            target = f"/%{byte:02x}a?%{byte:02x}b"
            environ = environ_of(client, request(target, fields=[("X", "y")]))
            expected = {
                "PATH_INFO": f"/{chr(byte)}a",
                "QUERY_STRING": f"%{byte:02x}b",
                "RAW_URI": target,
                "REQUEST_URI": target,
            }
            assert environ == {**plain, **expected}


def test_an_escape_of_any_byte_in_the_query_harms_no_other_value(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        plain = environ_of(client, request("/", fields=[("X", "y")]))
        for byte in [*range(0x20), 0x7F]:
            target = f"/?%{byte:02x}"
            environ = environ_of(client, request(target, fields=[("X", "y")]))
            expected = {"QUERY_STRING": target[2:], "RAW_URI": target, "REQUEST_URI": target}
            assert environ == {**plain, **expected}


def test_an_escaped_nul_in_the_path_is_400(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        assert client.get("/%00").status == 400


def test_an_asterisk_is_no_path(serve: Serve) -> None:
    """The target URI's is empty (RFC 9112 3.3), and PATH_INFO begins with "/" or is empty too."""
    with serve(ENVIRON).connect() as client:
        for _ in range(3):
            environ = environ_of(client, request("*", method="OPTIONS"))
            assert (environ["PATH_INFO"], environ["RAW_URI"]) == ("", "*")


def test_the_authority_of_an_absolute_target_is_http_host(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        environ = environ_of(client, request("https://other:81/a", host="test"))
    assert environ["HTTP_HOST"] == "other:81"
    assert environ["wsgi.url_scheme"] == "http"


def test_a_method_is_passed_on_as_sent(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        for method in ("GET", "get", "PROPFIND", "M-SEARCH", "A" * 32):
            assert environ_of(client, request("/", method=method))["REQUEST_METHOD"] == method


# ---- fields


def fields_of(client: Client, fields: list[tuple[str, str]]) -> dict[str, str]:
    """The HTTP_ keys that fields led to, less HTTP_HOST."""
    environ = environ_of(client, request("/", fields=fields))
    del environ["HTTP_HOST"]
    return {key: value for key, value in environ.items() if key.startswith("HTTP_")}


def test_repeated_fields_are_joined_by_a_comma_in_their_order(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        fields = [("X-A", "1"), ("X-B", "b"), ("x-a", "2"), ("X-A", ""), ("X-a", "3, 4")]
        assert fields_of(client, fields) == {"HTTP_X_A": "1,2,,3, 4", "HTTP_X_B": "b"}


def test_repeated_cookies_are_joined_by_a_semicolon(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        assert fields_of(client, [("Cookie", "a=1"), ("cookie", "b=2; c=3")]) == {
            "HTTP_COOKIE": "a=1; b=2; c=3"
        }


def test_a_name_with_an_underscore_is_dropped(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        fields = [("X_A", "forged"), ("X-A", "true"), ("X-A_B", "forged"), ("X_A", "forged")]
        assert fields_of(client, fields) == {"HTTP_X_A": "true"}
        environ = environ_of(client, request("/", fields=[("Content_Length", "5")]))
        assert set(environ) == ALWAYS | {"HTTP_HOST"}
        environ = environ_of(client, request("/", fields=[("Content_Type", "forged")]))
        assert set(environ) == ALWAYS | {"HTTP_HOST"}


def test_a_value_is_latin_1_with_the_white_space_around_it_gone(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        fields = [("A", "\t caf\xe9\xff \t"), ("B", ""), ("C", " \t "), ("D", "a\t b")]
        assert fields_of(client, fields) == {
            "HTTP_A": "caf\xe9\xff",
            "HTTP_B": "",
            "HTTP_C": "",
            "HTTP_D": "a\t b",
        }


def test_a_name_of_every_tchar_makes_its_key(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        assert fields_of(client, [("!#$%&'*+-.^`|~09azAZ", "x")]) == {
            "HTTP_!#$%&'*+_.^`|~09AZAZ": "x"
        }


def test_content_type_and_length_have_keys_of_their_own(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        fields = [("content-type", "a/b; c=d")]
        environ = environ_of(client, request("/", method="POST", fields=fields, body=b"abc"))
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("a/b; c=d", "3")
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(environ)


def test_transfer_encoding_is_gone_once_the_body_is_decoded(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        fields = [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")]
        data = request("/", method="POST", fields=fields)
        environ = environ_of(client, data + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert environ.get("CONTENT_LENGTH", "3") == "3"
    assert "HTTP_X_SUM" not in environ


def test_a_hundred_fields_of_any_name_arrive(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        for turn in range(30):  # more sequences of names than a small table of them holds
            fields = [(f"X-{turn}-{number}", f"v{number}") for number in range(99)]
            assert fields_of(client, fields) == {
                f"HTTP_X_{turn}_{number}": f"v{number}" for number in range(99)
            }


def test_thousands_of_different_heads_are_told_apart(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        for turn in range(2000):
            fields = [(f"X-{turn % 700}", f"a{turn}"), ("Y", f"b{turn}")]
            expected = {f"HTTP_X_{turn % 700}": f"a{turn}", "HTTP_Y": f"b{turn}"}
            assert fields_of(client, fields) == expected


# ---- equal heads, different requests


def test_an_app_that_spoils_its_environ_spoils_no_other(serve: Serve) -> None:
    with serve("apps.environ:spoiling").connect() as client:
        data = request("/", fields=[("X", "y"), ("Content-Type", "a/b")])
        first = environ_of(client, data)
        for _ in range(5):
            assert environ_of(client, data) == first


def test_equal_heads_from_two_peers_keep_their_addresses(serve: Serve) -> None:
    server = serve(ENVIRON)
    data = request("/", fields=[("X", "y")])
    with server.connect() as one, server.connect() as two:
        for client in (one, two, one, two):
            port = str(client.socket.getsockname()[1])
            assert environ_of(client, data)["REMOTE_PORT"] == port


def test_equal_heads_at_two_listeners_keep_their_addresses(serve: Serve, unix_path: str) -> None:
    server = serve(ENVIRON, more=(("127.0.0.2", 0), ("::1", 0), unix_path))
    data = request("/", fields=[("X", "y")])
    hosts = ["127.0.0.1", "127.0.0.2", "[::1]"]
    clients = [server.connect(listener) for listener in range(4)]
    try:
        for _ in range(3):
            for client, address, host in zip(clients, server.addresses, hosts):
                environ = environ_of(client, data)
                assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (host, str(address[1]))
                assert environ["REMOTE_PORT"] == str(client.socket.getsockname()[1])
            assert environ_of(clients[3], data)["REMOTE_ADDR"] == ""
    finally:
        for client in clients:
            client.close()


def test_equal_fields_in_1_0_and_1_1_keep_their_version_and_framing(serve: Serve) -> None:
    server = serve(ENVIRON)
    for _ in range(2):
        for version in ("HTTP/1.1", "HTTP/1.0"):
            with server.connect() as client:
                data = request("/", fields=[("X", "y")], version=version)
                assert environ_of(client, data)["SERVER_PROTOCOL"] == version
                if version == "HTTP/1.0":
                    client.expect_close()
                else:
                    assert client.get("/").status == 200


def test_equal_fields_under_two_targets_keep_their_host_and_path(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        for _ in range(2):
            environ = environ_of(client, request("/a?b"))
            assert (environ["HTTP_HOST"], environ["PATH_INFO"]) == ("test", "/a")
            environ = environ_of(client, request("http://other/c"))
            assert (environ["HTTP_HOST"], environ["PATH_INFO"]) == ("other", "/c")


def test_a_value_that_changes_under_equal_names_is_seen(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        for number in range(50):
            fields = [("X", f"{number}"), ("Y", "same")]
            expected = {"HTTP_X": f"{number}", "HTTP_Y": "same"}
            assert fields_of(client, fields) == expected
