"""server.set_forwarded: whose word a proxy's fields are taken for, and how far (docs/wsgi.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from harness import Server
from meinheld import _running, server
from meinheld._environ import Place, Plans
from meinheld._forwarded import ALLOW_IPS, FORWARDER_HEADERS, SECURE_SCHEME_HEADERS, Forwarded
from rawclient import Client

Serve = Callable[..., Server]
Fields = list[tuple[str, str]]


class Answered(Exception):
    """The application was not called."""


class Proxied:
    """What becomes of a request of a peer, by the rules that are given."""

    def __init__(self, script: str = "", **rules: Any) -> None:
        arguments: dict[str, Any] = {
            "allow_ips": ALLOW_IPS,
            "secure_scheme_headers": SECURE_SCHEME_HEADERS,
            "forwarder_headers": FORWARDER_HEADERS,
            "header_map": "drop",
            **rules,
        }
        self.forwarded = Forwarded(**arguments)
        self.logged: list[str] = []
        shared = {"SCRIPT_NAME": script, "wsgi.url_scheme": "http"}
        self.plans = Plans([Place("here", "80", False)], shared, self.forwarded)

    def environ(
        self, fields: Fields, *, peer: str = "127.0.0.1", target: str = "/a/b"
    ) -> dict[str, Any]:
        """environ as the application gets it. Raises Answered with the status if it does not."""
        names, values = [name for name, _ in fields], [value for _, value in fields]
        texts = [*names, "GET", target, target.partition("?")[0], "", *values]
        made = self.plans.environ(0, texts, True, False, 0)
        assert made is not None
        made["REMOTE_ADDR"] = peer
        seen: list[dict[str, Any]] = []

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            seen.append(environ)
            return []

        def answer(status: str, headers: Fields) -> None:
            raise Answered(status)

        self.forwarded.wrap(app, lambda text, _: self.logged.append(text))(made, answer)
        (environ,) = seen
        assert all(key and key[0] != "\0" and "\n" not in str(environ[key]) for key in environ)
        return environ


# ---- who is trusted


@pytest.mark.parametrize(
    ("peer", "allow_ips", "trusted"),
    [
        ("127.0.0.1", ALLOW_IPS, True),
        ("::1", ALLOW_IPS, True),
        ("127.0.0.2", ALLOW_IPS, False),
        ("", (), True),  # a unix socket's
        ("10.1.2.3", ("10.0.0.0/8",), True),
        ("11.1.2.3", ("10.0.0.0/8",), False),
        ("fd00::5", ("fd00::/8",), True),
        ("::ffff:10.1.2.3", ("10.0.0.0/8",), True),
        ("10.1.2.3", ("fd00::/8",), False),
        ("9.9.9.9", ("*",), True),
        ("9.9.9.9", (), False),
        ("nonsense", ALLOW_IPS, False),
    ],
)
def test_peers_are_trusted_by_their_addresses(
    peer: str, allow_ips: tuple[str, ...], trusted: bool
) -> None:
    environ = Proxied(allow_ips=allow_ips).environ([("X-Forwarded-Proto", "https")], peer=peer)
    assert environ["wsgi.url_scheme"] == ("https" if trusted else "http")
    assert environ["HTTP_X_FORWARDED_PROTO"] == "https"


# ---- the scheme

PROTO, SSL = "X-Forwarded-Proto", "X-Forwarded-Ssl"


@pytest.mark.parametrize(
    ("fields", "scheme"),
    [
        ([], "http"),
        ([(PROTO, "https")], "https"),
        ([("x-forwarded-PROTO", "https")], "https"),
        ([(PROTO, "HTTPS")], "http"),
        ([(PROTO, "http")], "http"),
        ([(PROTO, "")], "http"),
        ([(PROTO, "https,https")], "http"),  # one line that says something else
        ([(PROTO, "https"), (PROTO, "https")], "https"),
        ([(PROTO, "https"), (SSL, "on")], "https"),
        ([(PROTO, "http"), (SSL, "off")], "http"),
        ([(PROTO, "https"), (SSL, "off")], None),
        ([(PROTO, "https"), (PROTO, "http")], None),
        ([(PROTO, "http"), (PROTO, "https")], None),
    ],
)
def test_the_scheme_is_what_all_fields_say(fields: Fields, scheme: str | None) -> None:
    proxied = Proxied()
    if scheme is None:
        with pytest.raises(Answered, match="400 Bad Request"):
            proxied.environ(fields)
    else:
        assert proxied.environ(fields)["wsgi.url_scheme"] == scheme
    # Who is not trusted can neither set it nor have it refused.
    environ = proxied.environ(fields, peer="9.9.9.9")
    assert environ["wsgi.url_scheme"] == "http"
    values = [value for name, value in fields if name == PROTO]
    if values:
        assert environ["HTTP_X_FORWARDED_PROTO"] == ",".join(values)


def test_a_scheme_s_name_may_have_an_underscore() -> None:
    proxied = Proxied(secure_scheme_headers={"X_TLS": "yes"})
    environ = proxied.environ([("X_Tls", "yes")])
    assert environ["wsgi.url_scheme"] == "https"
    assert "HTTP_X_TLS" not in environ  # it is no forwarder header
    assert proxied.environ([("X_Tls", "yes")], peer="9.9.9.9")["wsgi.url_scheme"] == "http"


# ---- names with "_"


def test_a_forwarder_s_field_is_in_environ_and_others_are_not() -> None:
    proxied = Proxied(forwarder_headers=("REMOTE_USER",))
    fields = [("REMOTE_USER", "me"), ("X_OTHER", "a"), ("X-Plain", "b")]
    environ = proxied.environ(fields)
    assert (environ["HTTP_REMOTE_USER"], environ["HTTP_X_PLAIN"]) == ("me", "b")
    assert "HTTP_X_OTHER" not in environ
    stranger = proxied.environ(fields, peer="9.9.9.9")
    assert "HTTP_REMOTE_USER" not in stranger
    assert "HTTP_X_OTHER" not in stranger


def test_both_spellings_of_a_name_are_joined() -> None:
    proxied = Proxied(forwarder_headers=("X_A",))
    assert proxied.environ([("X-A", "1"), ("X_a", "2")])["HTTP_X_A"] == "1,2"
    assert proxied.environ([("X-A", "1"), ("X_A", "2")], peer="9.9.9.9")["HTTP_X_A"] == "1"


def test_a_star_lets_a_trusted_peer_send_any() -> None:
    proxied = Proxied(forwarder_headers=("*",))
    assert proxied.environ([("X_OTHER", "a")])["HTTP_X_OTHER"] == "a"
    assert "HTTP_X_OTHER" not in proxied.environ([("X_OTHER", "a")], peer="9.9.9.9")


@pytest.mark.parametrize(
    ("name", "peer", "refused"),
    [
        ("X_OTHER", "127.0.0.1", True),
        ("X_OTHER", "9.9.9.9", True),
        ("SCRIPT_NAME", "127.0.0.1", False),
        ("SCRIPT_NAME", "9.9.9.9", True),
        ("X-Other", "9.9.9.9", False),
    ],
)
def test_refuse_answers_400_where_drop_drops(name: str, peer: str, refused: bool) -> None:
    fields = [(name, "/a")]
    assert Proxied().environ(fields, peer=peer)
    if refused:
        with pytest.raises(Answered, match="400 Bad Request"):
            Proxied(header_map="refuse").environ(fields, peer=peer)
    else:
        assert Proxied(header_map="refuse").environ(fields, peer=peer)


# ---- where it is mounted


@pytest.mark.parametrize(
    ("script", "target", "mounted"),
    [
        ("/a", "/a/b", ("/a", "/b")),
        ("/a/", "/a/b", ("/a", "/b")),
        ("/a", "/a", ("/a", "")),
        ("/a", "/a?q=/a/b", ("/a", "")),
        ("/a/b", "/a/b/c%2fd", ("/a/b", "/c/d")),
        ("", "/a/b", ("", "/a/b")),
        ("/", "/a/b", ("", "/a/b")),
        ("/a", "/ab", None),
        ("/a", "/b", None),
        ("a", "/a/b", None),
    ],
)
@pytest.mark.parametrize("set_before", ["", "/a"])
def test_script_name_is_taken_off_the_path(
    set_before: str, script: str, target: str, mounted: tuple[str, str] | None
) -> None:
    proxied = Proxied(set_before)
    if mounted is None:
        with pytest.raises(Answered, match="500 Internal Server Error"):
            proxied.environ([("SCRIPT_NAME", script)], target=target)
        assert proxied.logged == [
            f"SCRIPT_NAME {script!r} of the proxy 127.0.0.1 is not what the path {target!r}"
            " begins with"
        ]
    else:
        environ = proxied.environ([("SCRIPT_NAME", script)], target=target)
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == mounted
        assert proxied.logged == []


# ---- on the wire, and the setter


def environ_of(client: Client, fields: Fields) -> dict[str, Any]:
    environ: dict[str, Any] = json.loads(client.get("/a/b", fields=fields).body)
    return environ


def test_a_server_believes_nobody_unless_told_to(serve: Serve) -> None:
    fields = [("X-Forwarded-Proto", "https"), ("SCRIPT_NAME", "/a")]
    with serve("apps.environ:app").connect() as client:
        environ = environ_of(client, fields)
        assert (environ["wsgi.url_scheme"], environ["PATH_INFO"]) == ("http", "/a/b")


def test_equal_heads_mean_what_their_peers_may_say(unix_path: str, serve: Serve) -> None:
    running = serve("apps.environ:app", forwarded=[["10.0.0.1"]], more=(unix_path,))
    fields = [("X-Forwarded-Proto", "https"), ("SCRIPT_NAME", "/a"), ("A", "b"), ("A", "c")]
    conflict = [*fields, ("X-Forwarded-Proto", "http")]
    with running.connect() as stranger, running.connect(1) as trusted:
        for _ in range(4):  # heads that come again are known
            environ = environ_of(stranger, fields)
            assert (environ["wsgi.url_scheme"], environ["PATH_INFO"]) == ("http", "/a/b")
            assert "HTTP_SCRIPT_NAME" not in environ
            environ = environ_of(trusted, fields)
            assert (environ["wsgi.url_scheme"], environ["PATH_INFO"]) == ("https", "/b")
            assert environ["HTTP_A"] == "b,c"
            assert environ_of(stranger, conflict)["HTTP_X_FORWARDED_PROTO"] == "https,http"
            assert trusted.get("/a/b", fields=conflict).status == 400


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"allow_ips": "127.0.0.1"},
            TypeError,
            "allow_ips must be an iterable of str, not",
        ),
        ({"allow_ips": [1]}, TypeError, "allow_ips must be an iterable of str: 1"),
        ({"allow_ips": ["10.0.0.1/8"]}, ValueError, "allow_ips: '10.0.0.1/8' is no address, net"),
        ({"allow_ips": ["localhost"]}, ValueError, "allow_ips: 'localhost' is no address"),
        ({"forwarder_headers": "A_B"}, TypeError, "forwarder_headers must be an iterable of str"),
        ({"header_map": "dangerous"}, ValueError, "header_map must be drop or refuse, not 'dang"),
        ({"secure_scheme_headers": {"A": 1}}, TypeError, "secure_scheme_headers holds str alone"),
        (
            {"secure_scheme_headers": {"Transfer-Encoding": "a"}},
            ValueError,
            "secure_scheme_headers: environ has no field 'Transfer-Encoding'",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        server.set_forwarded(**arguments)
    assert _running.settings.forwarded is None
