"""Several processes that serve one socket: python examples/prefork.py [PORT [PROCESSES]]

listen() comes before the fork, so that all accept from the same socket; run() comes after it, for a
loop belongs to the process that made it. SIGTERM and SIGINT end all. What watches over processes
and replaces those that end is gunicorn's business."""

import os
import signal
import sys

from meinheld import server


def app(environ, start_response):
    res = f"Hello from process {os.getpid()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(res)))])
    return [res]


def main(port=8000, processes=2):
    port = server.listen(("127.0.0.1", port))
    children = []
    for _ in range(processes):
        pid = os.fork()
        if not pid:
            server.run(app, silent=True)
            os._exit(0)
        children.append(pid)

    def end(number, frame):
        for pid in children:
            os.kill(pid, signal.SIGTERM)  # which lets each finish what it is at

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print(f"http://127.0.0.1:{port}/", flush=True)
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
