"""Takes uploads of any size as they come, and keeps none: python examples/upload.py [PORT]"""

import hashlib
import sys

from meinheld import server


def upload(environ, start_response):
    if environ["REQUEST_METHOD"] not in ("POST", "PUT"):
        start_response("405 Method Not Allowed", [("Allow", "POST, PUT"), ("Content-Length", "0")])
        return []
    size = 0
    digest = hashlib.sha256()
    while piece := environ["wsgi.input"].read(65536):  # an OSError if the rest will not come
        size += len(piece)
        digest.update(piece)
    res = f"{size} bytes, SHA-256 {digest.hexdigest()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(res)))])
    return [res]


if __name__ == "__main__":
    try:
        port = server.listen(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
    except (OSError, ValueError) as exc:
        sys.exit(f"upload.py: {exc}")
    server.set_stream_request_body(True)
    server.set_max_content_length(2**40)
    print(f"http://127.0.0.1:{port}/ - try: curl -T FILE http://127.0.0.1:{port}/", flush=True)
    server.run(upload, silent=True)
