"""The WSGI applications that are measured. Each is as plain as such an application can be, so that
what is measured is the server."""

import concurrent.futures
import functools
import hashlib
import os
import time

HELLO = b"Hello world!"
PIECE = 65536  # bytes, of a file or an upload read at once, and of a giant's piece
GIANT = 10 * 1024**3  # bytes
STREAM = [bytes([65 + n % 26]) * 1024 for n in range(100)]
PAUSE = 0.3  # seconds


def plain(start_response, length):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(length))])


def hello(environ, start_response):
    start_response("200 OK", [("Content-type", "text/plain"), ("Content-Length", "12")])
    return [b"Hello world!"]


def files(environ, start_response):
    """/files/N is that file of the folder BENCH_ROOT, by wsgi.file_wrapper where there is one."""
    path = environ["PATH_INFO"]
    if path == "/":
        return hello(environ, start_response)
    file = open(os.environ["BENCH_ROOT"] + path, "rb")  # noqa: SIM115  # the server closes it
    plain(start_response, os.fstat(file.fileno()).st_size)
    wrapper = environ.get("wsgi.file_wrapper")
    return wrapper(file, PIECE) if wrapper else pieces_of(file)


def pieces_of(file):
    with file:
        while piece := file.read(PIECE):
            yield piece


def upload(environ, start_response):
    """Reads the body; /sum answers its hash, any other path its length."""
    left = int(environ["CONTENT_LENGTH"])
    body = environ["wsgi.input"]
    digest = hashlib.sha256() if environ["PATH_INFO"] == "/sum" else None
    length = 0
    while left:
        piece = body.read(min(left, PIECE))
        if not piece:
            raise EOFError("the body is shorter than its Content-Length")
        left -= len(piece)
        length += len(piece)
        if digest:
            digest.update(piece)
    answer = (digest.hexdigest() if digest else str(length)).encode()
    plain(start_response, len(answer))
    return [answer]


def stream(environ, start_response):
    """100 pieces of 1 KiB, made one after the other; /pause pauses after the first."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    pause = PAUSE if environ["PATH_INFO"] == "/pause" else 0
    return stream_pieces(pause)


def stream_pieces(pause):
    for piece in STREAM:
        yield piece
        if pause:
            time.sleep(pause)
            pause = 0


def giant(environ, start_response):
    """/giant is 10 GiB, made as they are sent. No two pieces are one object, so that a server that
    keeps them is seen to."""
    if environ["PATH_INFO"] != "/giant":
        return hello(environ, start_response)
    plain(start_response, GIANT)
    return (b"%065536d" % number for number in range(GIANT // PIECE))


def burn(environ, start_response):
    """/burn runs Python for as many seconds as its query says, without ever waiting, and answers
    how much CPU time its thread had meanwhile."""
    if environ["PATH_INFO"] != "/burn":
        return hello(environ, start_response)
    had = time.thread_time()
    end = time.monotonic() + float(environ["QUERY_STRING"])
    number = 0
    while time.monotonic() < end:
        for _ in range(1000):
            number = number * 1103515245 + 12345 & 0x7FFFFFFF
    answer = f"{time.thread_time() - had:.9f}".encode()
    plain(start_response, len(answer))
    return [answer]


def topic(environ, start_response):
    """/poll waits for what is posted to /publish; /waiting answers how many do."""
    from meinheld.sync import channel

    news = channel("news")
    path = environ["PATH_INFO"]
    if path == "/poll":
        answer = news.subscribe().get()
    elif path == "/publish":
        answer = environ["wsgi.input"].read()
        news.publish(answer)
    elif path == "/waiting":
        answer = str(news.waiting).encode()
    else:
        return hello(environ, start_response)
    plain(start_response, len(answer))
    return [answer]


# ---- requests that wait -------------------------------------------------------------------------

AGAIN = "again"  # what is waited for once more


def waits(wait, publish, begun):
    """/wait answers what the query of /publish says, as soon as it does; /begun how many waits have
    begun. wait: waits once for that, and returns it; publish: says it; begun: grows by one with
    each wait."""

    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/wait":
            message = wait(environ)
            while message == AGAIN:
                message = wait(environ)
        elif path == "/publish":
            message = environ["QUERY_STRING"]
            publish(message)
        elif path == "/begun":
            message = str(len(begun))
        else:
            return hello(environ, start_response)
        plain(start_response, len(message))
        return [message.encode()]

    return app


def continuations():
    """By a continuation each, under ContinuationMiddleware."""
    begun = []
    suspended = []

    def wait(environ):
        begun.append(None)
        continuation = environ["meinheld.continuation"]
        suspended.append(continuation)
        return continuation.suspend()

    def publish(message):
        told = suspended[:]
        suspended.clear()
        for continuation in told:
            continuation.resume(message)

    return wait, publish, begun


def results(make, get, give):
    """By a result that all wait for: made by make, then given once."""
    begun = []
    awaited = [make()]

    def wait(environ):
        result = awaited[0]
        begun.append(None)
        return get(result)

    def publish(message):
        told, awaited[0] = awaited[0], make()
        give(told, message)

    return wait, publish, begun


suspended = waits(*continuations())

blocked = waits(
    *results(
        concurrent.futures.Future,
        concurrent.futures.Future.result,
        concurrent.futures.Future.set_result,
    )
)


@functools.cache
def gevent_waits():
    from gevent.event import AsyncResult

    return waits(*results(AsyncResult, AsyncResult.get, AsyncResult.set))


def suspended_gevent(environ, start_response):
    return gevent_waits()(environ, start_response)


@functools.cache
def flask_waits():
    import flask

    app = flask.Flask(__name__)
    wait, publish, begun = continuations()

    @app.get("/")
    def root():
        return HELLO

    @app.get("/wait")
    def long_poll():
        message = wait(flask.request.environ)
        while message == AGAIN:
            message = wait(flask.request.environ)
        return message

    @app.get("/publish")
    def tell():
        message = flask.request.query_string.decode()
        publish(message)
        return message

    @app.get("/begun")
    def count():
        return str(len(begun))

    return app


def suspended_flask(environ, start_response):
    return flask_waits()(environ, start_response)
