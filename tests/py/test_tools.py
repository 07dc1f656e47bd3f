"""The tools that everybody points at a server: curl, ab, wrk. Not one answer may be wrong."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from harness import Server, tool

Serve = Callable[..., Server]


def run(*argv: str) -> str:
    """The output of a tool that must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, f"{argv}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_curl_gets_hello_world(serve: Serve) -> None:
    curl = tool("curl")
    server = serve("apps.hello:app")
    assert run(curl, "-sS", "--fail", server.url + "/") == "Hello world!"
    assert run(curl, "-sS", "--fail", "--http1.0", server.url + "/") == "Hello world!"
    head = run(curl, "-sS", "--fail", "--head", server.url + "/")
    assert head.startswith("HTTP/1.1 200 OK\n") and "Content-Length: 12\n" in head


def test_curl_gets_hello_world_over_a_unix_socket(serve: Serve, unix_path: str) -> None:
    curl = tool("curl")
    serve("apps.hello:app", address=unix_path)
    assert run(curl, "-sS", "--fail", "--unix-socket", unix_path, "http://x/") == "Hello world!"


def test_curl_uploads_a_file_by_length_and_in_chunks(serve: Serve, tmp_path: Path) -> None:
    curl = tool("curl")
    server = serve("apps.bodies:app")
    upload, back = tmp_path / "upload", tmp_path / "back"
    upload.write_bytes(bytes(range(256)) * 8192)
    data = f"@{upload}"  # over 1 MiB: curl asks for 100-continue by itself
    for extra in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"]):
        target = server.url + "/read"
        run(curl, "-sS", "--fail", *extra, "--data-binary", data, "-o", str(back), target)
        assert back.read_bytes() == upload.read_bytes()


def apache_bench(serve: Serve, *options: str) -> dict[str, str]:
    """ab's report by its labels, 10,000 requests of 100 clients."""
    ab = tool("ab")
    argv = [ab, "-q", "-c", "100", "-n", "10000", *options, serve("apps.hello:app").url + "/"]
    return dict(re.findall(r"^([A-Z][\w /-]+):\s+(\S+)", run(*argv), re.MULTILINE))


def check_bench(report: dict[str, str]) -> None:
    assert report["Complete requests"] == "10000"
    assert report["Failed requests"] == "0"
    assert "Non-2xx responses" not in report
    assert report["Document Length"] == "12"
    assert report["HTML transferred"] == "120000"


def test_apache_bench_gets_ten_thousand_right_answers(serve: Serve) -> None:
    check_bench(apache_bench(serve))


def test_apache_bench_gets_ten_thousand_right_answers_over_kept_connections(serve: Serve) -> None:
    report = apache_bench(serve, "-k")
    check_bench(report)
    assert report["Keep-Alive requests"] == "10000"


# Counts in each thread of wrk the answers that are not the right one; the main thread adds them up.
CHECK_ANSWERS = """
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() wrong, right = 0, 0 end
function response(status, headers, body)
    if status == 200 and body == "Hello world!" and headers["Content-Length"] == "12" then
        right = right + 1
    else
        wrong = wrong + 1
    end
end
function done()
    local wrongs, rights = 0, 0
    for _, thread in ipairs(threads) do
        wrongs = wrongs + thread:get("wrong")
        rights = rights + thread:get("right")
    end
    print("wrong answers: " .. wrongs .. ", right answers: " .. rights)
end
"""


def test_wrk_gets_nothing_but_right_answers_over_kept_connections(
    serve: Serve, tmp_path: Path
) -> None:
    wrk = tool("wrk")
    script = tmp_path / "check.lua"
    script.write_text(CHECK_ANSWERS)
    server = serve("apps.hello:app")
    output = run(wrk, "-t1", "-c50", "-d2s", "-s", str(script), server.url + "/")
    assert "Socket errors" not in output, output
    assert "Non-2xx" not in output, output
    match = re.search(r"wrong answers: (\d+), right answers: (\d+)", output)
    assert match, output
    assert int(match[1]) == 0 and int(match[2]) > 1000, output
