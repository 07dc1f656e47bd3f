"""python -m meinheld MODULE:APP, from the command line to the exit status."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import HELLO, MEINHELD, SERVES, refusal, served_port
from harness import HERE, Process
from meinheld import __version__
from meinheld._addresses import SYSTEMD, parse_address
from privilege import without_port_80
from rawclient import Address, Client

# ---- serving


def test_it_serves_an_app_of_the_working_directory_and_says_where(
    spawn: Callable[..., Process], folder: Path
) -> None:
    process = spawn([*MEINHELD, "site_app:application", "--bind", "127.0.0.1:0"], cwd=folder)
    port = served_port(process)
    assert port > 0
    assert process.log == (
        f"meinheld {__version__} serves site_app:application on http://127.0.0.1:{port}"
        " - stop with Ctrl-C\n"
    )
    with Client(("127.0.0.1", port)) as client:
        assert client.get().body == b"hello"
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    assert "Traceback" not in process.log


def test_sigterm_ends_it_with_status_0(spawn: Callable[..., Process], folder: Path) -> None:
    process = spawn([*MEINHELD, "site_app:application", "--bind", "127.0.0.1:0"], cwd=folder)
    with Client(("127.0.0.1", served_port(process))) as client:
        assert client.get().status == 200
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def test_the_installed_script_does_the_same(spawn: Callable[..., Process], folder: Path) -> None:
    # The script's directory is at the head of its sys.path, not the working directory.
    script = folder.parent / "meinheld-script"
    script.write_text("import sys\nfrom meinheld._cli import main\nsys.exit(main())\n")
    argv = [sys.executable, str(script), "site_app:application", "--bind", "127.0.0.1:0"]
    process = spawn(argv, cwd=folder)
    with Client(("127.0.0.1", served_port(process))) as client:
        assert client.get().body == b"hello"


def test_without_a_name_it_takes_application_then_app(
    spawn: Callable[..., Process], folder: Path
) -> None:
    both = "app = None\n" + HELLO
    only_app = HELLO.replace("application", "app")
    for name, text in (("both", both), ("only_app", only_app)):
        (folder / f"{name}.py").write_text(text)
        process = spawn([*MEINHELD, name, "--bind", "127.0.0.1:0"], cwd=folder)
        with Client(("127.0.0.1", served_port(process))) as client:
            assert client.get().body == b"hello"


def test_the_app_may_be_a_dotted_name_in_a_package(
    spawn: Callable[..., Process], folder: Path
) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    text = HELLO + "\nclass sites:\n    class main:\n        app = staticmethod(application)\n"
    (folder / "package" / "web.py").write_text(text)
    argv = [*MEINHELD, "package.web:sites.main.app", "--bind", "127.0.0.1:0"]
    with Client(("127.0.0.1", served_port(spawn(argv, cwd=folder)))) as client:
        assert client.get().body == b"hello"


def test_it_binds_several_addresses(
    spawn: Callable[..., Process], folder: Path, unix_path: str
) -> None:
    binds = ["127.0.0.1:0", "[::1]:0", f"unix:{unix_path}"]
    argv = [*MEINHELD, "site_app:application"]
    for bind in binds:
        argv += ["--bind", bind]
    process = spawn(argv, cwd=folder)
    process.wait_for_log("stop with Ctrl-C\n")
    urls = dict(SERVES.findall(process.log.replace(",", " ")))
    assert set(urls) == {"127.0.0.1", "[::1]"}
    assert f"unix:{unix_path}" in process.log
    ports = {host: int(port) for host, port in urls.items()}
    addresses: list[Address] = [("127.0.0.1", ports["127.0.0.1"]), ("::1", ports["[::1]"])]
    addresses.append(unix_path)
    for address in addresses:
        with Client(address) as client:
            assert client.get().body == b"hello"


def test_threads_run_the_app(spawn: Callable[..., Process], folder: Path) -> None:
    (folder / "site_app.py").write_text(
        "import threading\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [threading.current_thread().name.encode()]\n"
    )
    for argument, name in (("0", b"MainThread"), ("1", b"meinheld-1")):
        argv = [*MEINHELD, "site_app", "--bind", "127.0.0.1:0", "--threads", argument]
        process = spawn(argv, cwd=folder)
        with Client(("127.0.0.1", served_port(process))) as client:
            assert client.get().body == name
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize("count", ["-1", "x", "1.0", "\u0663", "4097"])
def test_a_number_of_threads_that_is_none_is_one_line_and_status_2(
    folder: Path, count: str
) -> None:
    line = refusal([*MEINHELD, "site_app", "--threads", count], folder, 2)
    assert line == f"meinheld: --threads {count!r}: not an integer from 0 to 4096\n"


def test_the_default_address_is_127_0_0_1_port_8000(folder: Path) -> None:
    done = subprocess.run(
        [*MEINHELD, "--help"], cwd=folder, capture_output=True, text=True, timeout=30, check=True
    )
    assert "127.0.0.1:8000" in done.stdout


def test_version_is_printed(folder: Path) -> None:
    done = subprocess.run(
        [*MEINHELD, "--version"], cwd=folder, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == f"meinheld {__version__}\n"


def installed_command() -> list[str]:
    """The script that was installed, or else what pyproject.toml says is to be one."""
    script = Path(sys.executable).with_name("meinheld")
    if script.exists():
        return [str(script)]
    pyproject = (HERE.parents[1] / "pyproject.toml").read_text()
    entry = re.search(r'^meinheld = "([\w.]+):(\w+)"$', pyproject, re.MULTILINE)
    assert entry, "pyproject.toml has no script meinheld"
    module, function = entry.groups()
    code = f"import sys; from {module} import {function}; sys.exit({function}())"
    return [sys.executable, "-c", code]


def test_the_command_is_installed_as_meinheld() -> None:
    done = subprocess.run(
        [*installed_command(), "--version"], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == f"meinheld {__version__}\n"


# ---- addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("localhost:0", ("localhost", 0)),
        (":65535", ("0.0.0.0", 65535)),
        ("[::1]:8000", ("::1", 8000)),
        ("[::]:80", ("::", 80)),
        ("unix:/run/x.sock", "/run/x.sock"),
        ("unix:x:1", "x:1"),
        ("fd://7", 7),
        ("fd://systemd", SYSTEMD),
    ],
)
def test_an_address_is_understood(text: str, address: object) -> None:
    assert parse_address(text) == address


# Each is refused; the last of the first line has a digit that is none of ASCII's.
BAD_ADDRESSES = ["", "8000", "127.0.0.1", "a:", "a:http", "a:65536", "a:-1", "a:+1", "a:\u0661"]
BAD_ADDRESSES += ["fd://", "fd://x", "fd://-1", "fd://+1", "unix:a\0b", "a:" + "9" * 5000]
BAD_ADDRESSES += ["a: 1", "a:1_0", "::1:8000", "[::1]", "[a:80", "a]:80", "[a]:80", "unix:"]


@pytest.mark.parametrize("text", BAD_ADDRESSES)
def test_a_bad_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


def test_a_bad_address_is_one_line_and_status_2(folder: Path) -> None:
    line = refusal([*MEINHELD, "site_app:application", "--bind", "127.0.0.1"], folder, 2)
    assert line.startswith("meinheld: --bind '127.0.0.1': none of HOST:PORT, [IPV6]:PORT")


def test_a_host_that_can_not_be_resolved_is_one_line_and_status_1(folder: Path) -> None:
    line = refusal([*MEINHELD, "site_app:application", "--bind", "no-such-host.invalid:80"], folder)
    assert "no-such-host.invalid:80" in line


def test_a_host_that_is_no_name_is_one_line_and_status_1(folder: Path) -> None:
    line = refusal([*MEINHELD, "site_app:application", "--bind", "a..b:80"], folder)
    assert "a..b:80" in line


def test_a_unix_path_that_is_too_long_is_one_line_and_status_1(folder: Path) -> None:
    bind = "unix:" + "x" * 200
    line = refusal([*MEINHELD, "site_app:application", "--bind", bind], folder)
    assert bind in line and "too long" in line


def test_an_address_in_use_is_one_line_and_status_1(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal([*MEINHELD, "site_app:application", "--bind", f"127.0.0.1:{port}"], folder)
    assert f"127.0.0.1:{port}" in line and "in use" in line


def test_an_address_in_use_among_several_is_named(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bad = f"127.0.0.1:{taken.getsockname()[1]}"
        argv = [*MEINHELD, "site_app:application", "--bind", "127.0.0.1:0", "--bind", bad]
        line = refusal(argv, folder)
    assert bad in line


def test_a_unix_socket_that_another_server_uses_is_one_line_and_status_1(
    folder: Path, unix_path: str
) -> None:
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(unix_path)
        taken.listen()
        line = refusal([*MEINHELD, "site_app:application", "--bind", f"unix:{unix_path}"], folder)
    assert f"unix:{unix_path}" in line and "in use" in line
    assert os.path.exists(unix_path)


def test_a_unix_socket_in_no_directory_is_one_line_and_status_1(folder: Path) -> None:
    line = refusal([*MEINHELD, "site_app:application", "--bind", "unix:/no/such/socket"], folder)
    assert "unix:/no/such/socket" in line


def test_a_privileged_port_is_one_line_and_status_1(folder: Path, tmp_path: Path) -> None:
    prefix = without_port_80(tmp_path)
    line = refusal([*prefix, *MEINHELD, "site_app:application", "--bind", ":80"], folder)
    assert "0.0.0.0:80" in line and "ermission denied" in line


# ---- apps that can't be had


def test_a_module_that_is_not_there_is_one_line_and_status_1(folder: Path) -> None:
    assert "no module 'nowhere'" in refusal([*MEINHELD, "nowhere:app"], folder)
    assert "no module 'nowhere'" in refusal([*MEINHELD, "nowhere.web:app"], folder)


def test_an_attribute_that_is_not_there_is_one_line_and_status_1(folder: Path) -> None:
    line = refusal([*MEINHELD, "site_app:nothing"], folder)
    assert "'site_app'" in line and "'nothing'" in line
    line = refusal([*MEINHELD, "site_app:application.nothing"], folder)
    assert "'application'" in line and "'nothing'" in line


def test_an_attribute_that_fails_when_asked_for_is_one_line_and_status_1(folder: Path) -> None:
    (folder / "lazy.py").write_text("def __getattr__(name):\n    raise ImportError('no ' + name)\n")
    assert "ImportError: no app" in refusal([*MEINHELD, "lazy:app"], folder)
    assert "ImportError: no application" in refusal([*MEINHELD, "lazy"], folder)


def test_a_module_without_an_app_is_one_line_and_status_1(folder: Path) -> None:
    (folder / "empty.py").write_text("")
    line = refusal([*MEINHELD, "empty"], folder)
    assert "'empty'" in line and "'application' or 'app'" in line


def test_an_app_that_is_not_callable_is_one_line_and_status_1(folder: Path) -> None:
    (folder / "number.py").write_text("app = 5\n")
    line = refusal([*MEINHELD, "number:app"], folder)
    assert "'number:app' is not callable" in line and "int" in line


def test_an_import_error_inside_the_module_is_named_with_its_place(folder: Path) -> None:
    (folder / "needs.py").write_text("import os\nimport not_installed_here\n")
    line = refusal([*MEINHELD, "needs:app"], folder)
    assert "ModuleNotFoundError" in line and "'not_installed_here'" in line
    assert f"{folder / 'needs.py'}:2" in line


def test_a_module_that_fails_with_the_name_of_its_own_is_not_called_missing(folder: Path) -> None:
    (folder / "liar.py").write_text('raise ModuleNotFoundError("x", name="liar")\n')
    line = refusal([*MEINHELD, "liar:app"], folder)
    assert "ModuleNotFoundError: x" in line and "liar.py:1" in line


def test_a_syntax_error_is_one_line_with_its_place(folder: Path) -> None:
    (folder / "wrong.py").write_text("x = 1\ndef app(:\n    pass\n")
    line = refusal([*MEINHELD, "wrong:app"], folder)
    assert "SyntaxError" in line and f"{folder / 'wrong.py'}:2" in line


def test_an_exception_of_the_module_is_one_line_however_long_its_text(folder: Path) -> None:
    (folder / "raises.py").write_text('def f():\n    raise ValueError("one\\n\\ntwo")\n\nf()\n')
    line = refusal([*MEINHELD, "raises:app"], folder)
    assert "ValueError: one two" in line and "raises.py:2" in line


def test_a_module_that_exits_is_one_line_and_status_1(folder: Path) -> None:
    (folder / "exits.py").write_text("raise SystemExit(0)\n")
    assert "SystemExit: 0" in refusal([*MEINHELD, "exits:app"], folder)


BAD_SPECS = ["", ":", ":app", "site_app:", "a..b:app", "site_app:a..b", "a:b:c", "a b:c"]
BAD_SPECS += ["a()", "a:b(1)", "a:b(", "a:b()()", "a:b().c"]


@pytest.mark.parametrize("spec", BAD_SPECS)
def test_a_spec_of_no_form_is_one_line_and_status_2(spec: str, folder: Path) -> None:
    assert refusal([*MEINHELD, spec], folder, 2).startswith(f"meinheld: MODULE:APP {spec!r}: ")


def test_an_unknown_option_is_one_line_and_status_2(folder: Path) -> None:
    line = refusal([*MEINHELD, "--no-such-option"], folder, 2)
    assert line == "meinheld: unrecognized arguments: --no-such-option (see meinheld --help)\n"


# ---- factories


def test_what_a_factory_returns_is_served(spawn: Callable[..., Process], folder: Path) -> None:
    (folder / "maker.py").write_text(
        HELLO + "\nclass site:\n    def make():\n        return application\n"
    )
    process = spawn([*MEINHELD, "maker:site.make()", "--bind", "127.0.0.1:0"], cwd=folder)
    with Client(("127.0.0.1", served_port(process))) as client:
        assert client.get().body == b"hello"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('no\\nway')", "'maker:make()' fails: ValueError: no way ("),
        ("raise SystemExit(0)", "'maker:make()' fails: SystemExit: 0 ("),
        ("return 5", "what 'maker:make()' returns is not callable: it is of type int"),
        ("return None", "what 'maker:make()' returns is not callable: it is of type NoneType"),
    ],
)
def test_a_factory_that_makes_no_app_is_one_line_and_status_1(
    folder: Path, body: str, reason: str
) -> None:
    (folder / "maker.py").write_text(f"def make():\n    {body}\n")
    assert reason in refusal([*MEINHELD, "maker:make()"], folder)


def test_a_factory_that_wants_arguments_is_one_line_and_status_1(folder: Path) -> None:
    line = refusal([*MEINHELD, "site_app:application()"], folder)
    assert "'site_app:application()' fails: TypeError: " in line


# ---- behind proxies


def test_forwarded_fields_are_believed_of_who_is_trusted(
    spawn: Callable[..., Process], folder: Path
) -> None:
    (folder / "scheme.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [environ['wsgi.url_scheme'].encode()]\n"
    )
    for flags, scheme in (
        (["--forwarded-allow-ips", "10.0.0.1,127.0.0.0/8"], b"https"),
        (["--forwarded-allow-ips", "10.0.0.1"], b"http"),
        ([], b"http"),
    ):
        process = spawn(
            [*MEINHELD, "scheme:application", "--bind", "127.0.0.1:0", *flags], cwd=folder
        )
        with Client(("127.0.0.1", served_port(process))) as client:
            response = client.get("/", fields=[("X-Forwarded-Proto", "https")])
        assert response.body == scheme


def test_the_proxy_protocol_is_spoken_by_who_is_allowed_to(
    spawn: Callable[..., Process], folder: Path
) -> None:
    (folder / "peer.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [environ['REMOTE_ADDR'].encode()]\n"
    )
    request = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
    for allowed, status, body in [("127.0.0.0/8", 200, b"192.0.2.1"), ("10.0.0.0/8", 403, None)]:
        flags = ["--proxy-protocol", "v1", "--proxy-allow-ips", allowed]
        process = spawn([*MEINHELD, "peer", "--bind", "127.0.0.1:0", *flags], cwd=folder)
        with Client(("127.0.0.1", served_port(process))) as client:
            client.send(request)
            answer = client.read_response()
            assert (answer.status, body or answer.body) == (status, answer.body)


# ---- the README's program


def test_the_readme_of_the_first_release_runs_with_bytes_in_its_body(
    spawn: Callable[..., Process], folder: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (HERE / "readme_hello.txt").read_text()
    text = text.replace('"0.0.0.0", 8000', f'"127.0.0.1", {port}')  # tests stay on loopback
    assert str(port) in text
    program = folder / "hello.py"
    program.write_text(text)
    process = spawn([sys.executable, str(program)], cwd=folder)

    process.wait_for_port(port)
    with Client(("127.0.0.1", port)) as client:
        response = client.get()
    assert (response.status, response.body) == (200, b"Hello world!")
    assert response.get("Content-Type") == "text/plain"
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert process.log == ""


# ---- the access log


def visit(process: Process) -> None:
    with Client(("127.0.0.1", served_port(process))) as client:
        assert client.get("/?q").status == 200
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def serve_logging(spawn: Callable[..., Process], folder: Path, *arguments: str) -> Process:
    argv = [*MEINHELD, "site_app", "--bind", "127.0.0.1:0", *arguments]
    process = spawn(argv, cwd=folder)
    visit(process)
    return process


@pytest.mark.parametrize("arguments", [["--access-log"], ["--access-log", "-"]])
def test_access_log_alone_writes_to_stdout(
    spawn: Callable[..., Process], folder: Path, arguments: list[str]
) -> None:
    process = serve_logging(spawn, folder, *arguments)
    line = r'127\.0\.0\.1 - - \[.*\] "GET /\?q HTTP/1\.1" 200 5 "-" "-"\n'
    assert re.fullmatch(line, process.out), process.out


@pytest.mark.parametrize(
    ("format", "line"),
    [
        ("combined", r'127\.0\.0\.1 - - \[.*\] "GET /\?q HTTP/1\.1" 200 5 "-" "-"\n'),
        ("json", r'\{"time":.*,"status":200,"bytes":5,.*\}\n'),
        ("%(m)s %(q)s %({Host}i)s", r"GET q test\n"),
    ],
)
def test_access_log_appends_to_a_file_in_any_format(
    spawn: Callable[..., Process], folder: Path, format: str, line: str
) -> None:
    (folder / "log").write_text("before\n")
    process = serve_logging(spawn, folder, "--access-log", "log", "--access-log-format", format)
    assert process.out == ""
    assert re.fullmatch("before\n" + line, (folder / "log").read_text())


def test_without_access_log_nothing_is_logged(spawn: Callable[..., Process], folder: Path) -> None:
    assert serve_logging(spawn, folder).out == ""


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["--access-log", "no/log"], 1, "--access-log 'no/log': No such file or directory"),
        (["--access-log", "."], 1, "--access-log '.': Is a directory"),
        (
            ["--access-log", "log", "--access-log-format", "%(Z)s"],
            2,
            "--access-log-format '%(Z)s': there is no atom 'Z'",
        ),
        (
            ["--access-log", "log", "--access-log-format", "xml"],
            2,
            "--access-log-format 'xml': neither combined, json, nor a %-format",
        ),
        (
            ["--access-log-format", "json"],
            2,
            "--access-log-format 'json': of no use without --access-log",
        ),
    ],
)
def test_what_is_no_log_is_one_line(
    folder: Path, arguments: list[str], status: int, reason: str
) -> None:
    line = refusal([*MEINHELD, "site_app", *arguments], folder, status)
    assert line == f"meinheld: {reason}\n"


def test_an_app_that_access_log_has_taken_is_missed(folder: Path) -> None:
    line = refusal([*MEINHELD, "--access-log", "site_app"], folder, 2)
    assert "MODULE:APP is missing; --access-log took 'site_app'" in line
