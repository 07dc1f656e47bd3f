"""The WSGI hello world, on one of several servers: python hello_wsgi.py SERVER PORT.

One process, one thread, each server as it comes. A server is added by a function here and an entry
in harness/cases.py.
"""

import sys


def hello_world(environ, start_response):
    start_response("200 OK", [("Content-type", "text/plain"), ("Content-Length", "12")])
    return [b"Hello world!"]


def meinheld(app, port):
    from meinheld import server

    server.listen(("127.0.0.1", port))
    server.run(app)


def bjoern(app, port):
    import bjoern

    bjoern.run(app, "127.0.0.1", port)


def fastwsgi(app, port):
    import fastwsgi

    fastwsgi.run(app, "127.0.0.1", port)


RUNNERS = {run.__name__: run for run in (meinheld, bjoern, fastwsgi)}

if __name__ == "__main__":
    RUNNERS[sys.argv[1]](hello_world, int(sys.argv[2]))
