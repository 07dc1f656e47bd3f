"""Hello world: python examples/hello.py"""

import sys

from meinheld import server


def hello_world(environ, start_response):
    status = "200 OK"
    res = b"Hello world!"
    response_headers = [("Content-type", "text/plain"), ("Content-Length", str(len(res)))]
    start_response(status, response_headers)
    return [res]


if __name__ == "__main__":
    try:
        server.listen(("127.0.0.1", 8000))
    except OSError as exc:
        sys.exit(f"hello.py: 127.0.0.1:8000: {exc.strerror}")
    print("http://127.0.0.1:8000/ - try: curl -i http://127.0.0.1:8000/", flush=True)
    server.run(hello_world, silent=True)  # Ctrl-C ends it without a KeyboardInterrupt
