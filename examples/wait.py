"""One request waits for another: python examples/wait.py [PORT]

curl http://127.0.0.1:8000/next &
curl http://127.0.0.1:8000/say?hello
"""

import sys

from meinheld import server
from meinheld.middleware import CONTINUATION_KEY, ContinuationMiddleware

waiting = set()


def app(environ, start_response):
    if environ["PATH_INFO"] == "/next":
        continuation = environ[CONTINUATION_KEY]
        waiting.add(continuation)
        try:
            message = continuation.suspend(25)
        except server.timeout:
            message = "nothing"
        finally:
            waiting.discard(continuation)
    else:
        message = environ["QUERY_STRING"]
        for continuation in list(waiting):
            continuation.resume(message)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{message}\n".encode()]


if __name__ == "__main__":
    port = server.listen(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
    print(f"http://127.0.0.1:{port}/next", flush=True)
    server.run(ContinuationMiddleware(app), silent=True)
