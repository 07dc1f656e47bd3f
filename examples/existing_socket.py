"""Serves a socket that listens already, as one that a supervisor hands over:
python examples/existing_socket.py [PORT]"""

import socket
import sys

from meinheld import server


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello world!\n"]


if __name__ == "__main__":
    address = ("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
    with socket.create_server(address, backlog=1024) as sock:
        server.set_listen_socket(sock.fileno())  # or a list of them; they stay ours to close
        print(f"http://127.0.0.1:{sock.getsockname()[1]}/", flush=True)
        server.run(app, silent=True)
