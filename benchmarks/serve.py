"""An application of apps.py on one of the servers that are started by a call of Python:
python serve.py SERVER APP PORT.

One process, each server as it comes; those called NAME_4 have four threads for the application. A
server is added by a function here and an entry in harness/servers.py.
"""

import os
import sys

import apps

THREADS = 4


def meinheld(app, port):
    from meinheld import server

    server.listen(("127.0.0.1", port))
    server.run(app)


def meinheld_4(app, port):
    from meinheld import server

    server.listen(("127.0.0.1", port))
    server.run(app, threads=THREADS)


def meinheld_middleware(app, port):
    from meinheld.middleware import ContinuationMiddleware

    meinheld(ContinuationMiddleware(app), port)


def meinheld_static(app, port):
    from meinheld import server

    server.static("/files", os.environ["BENCH_ROOT"] + "/files")
    meinheld(app, port)


def bjoern(app, port):
    import bjoern

    bjoern.run(app, "127.0.0.1", port)


def fastwsgi(app, port):
    import fastwsgi

    fastwsgi.run(app, "127.0.0.1", port)


def waitress(app, port):
    import waitress

    waitress.serve(app, host="127.0.0.1", port=port, threads=THREADS)


def gevent(app, port):
    import gevent.pywsgi

    gevent.pywsgi.WSGIServer(("127.0.0.1", port), app, log=None).serve_forever()


RUNNERS = {
    run.__name__: run
    for run in (
        meinheld,
        meinheld_4,
        meinheld_middleware,
        meinheld_static,
        bjoern,
        fastwsgi,
        waitress,
        gevent,
    )
}

if __name__ == "__main__":
    RUNNERS[sys.argv[1]](getattr(apps, sys.argv[2]), int(sys.argv[3]))
