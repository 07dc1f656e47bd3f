"""Asks another server while it serves others: python examples/outgoing.py [PORT [URL]]

The standard library's sockets wait in the loop, so that urllib, and whatever else stands on them,
does."""

from meinheld import patch

patch.patch_all()  # before what uses sockets is imported

import sys  # noqa: E402
from urllib.error import URLError  # noqa: E402
from urllib.request import urlopen  # noqa: E402

from meinheld import server  # noqa: E402

url = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8001/"


def app(environ, start_response):
    try:
        with urlopen(url, timeout=5) as answer:
            status, res = "200 OK", answer.read()
    except (URLError, OSError) as exc:
        status, res = "502 Bad Gateway", f"{url}: {exc}\n".encode()
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(res)))]
    start_response(status, headers)
    return [res]


if __name__ == "__main__":
    port = server.listen(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
    print(f"http://127.0.0.1:{port}/ answers what {url} does", flush=True)
    server.run(app, silent=True)
