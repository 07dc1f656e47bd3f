"""A static file through wsgi.file_wrapper: python examples/file_wrapper.py FILE [PORT]"""

import mimetypes
import os
import sys

from meinheld import server

path = sys.argv[1] if len(sys.argv) > 1 else __file__


def static_file(environ, start_response):
    file = open(path, "rb")  # noqa: SIM115 - the server closes it once the client has it all
    content_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
    length = os.fstat(file.fileno()).st_size
    start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(length))])
    return environ["wsgi.file_wrapper"](file)


if __name__ == "__main__":
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 8000
    try:
        port = server.listen(("127.0.0.1", wanted))
    except OSError as exc:
        sys.exit(f"file_wrapper.py: 127.0.0.1:{wanted}: {exc.strerror}")
    print(f"http://127.0.0.1:{port}/ - try: curl -i http://127.0.0.1:{port}/", flush=True)
    server.run(static_file, silent=True)
