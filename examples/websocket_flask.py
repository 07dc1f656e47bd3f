"""A chat in Flask: python examples/websocket_flask.py [PORT], then open the page that it names in
several windows."""

import sys
from contextlib import suppress

from flask import Flask, request
from meinheld import server
from meinheld.websocket import WebSocketClosed, WebSocketMiddleware

PAGE = """<!doctype html>
<title>Chat</title>
<form><input autofocus> <button>Say</button></form>
<pre></pre>
<script>
  const [form, input, log] = ["form", "input", "pre"].map(name => document.querySelector(name));
  const ws = new WebSocket(`ws://${location.host}/chat`);
  ws.onmessage = event => log.append(event.data + "\\n");
  ws.onclose = event => log.append(`closed: ${event.code}\\n`);
  form.onsubmit = event => { event.preventDefault(); ws.send(input.value); input.value = ""; };
</script>
"""

app = Flask(__name__)
people = set()


@app.get("/")
def page():
    return PAGE


@app.get("/chat", websocket=True)  # what asks for no WebSocket never comes here
def chat():
    ws = request.environ["wsgi.websocket"]
    people.add(ws)
    try:
        for message in ws:
            for other in list(people):
                with suppress(WebSocketClosed):  # whose own view is about to leave
                    other.send(message)
    finally:
        people.discard(ws)
    return ""


def allow_origin(origin, environ):
    """Only this page is to connect, and no other that a visitor has open."""
    return origin in (None, f"http://{environ['HTTP_HOST']}")


if __name__ == "__main__":
    port = server.listen(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
    print(f"http://127.0.0.1:{port}/", flush=True)
    server.run(WebSocketMiddleware(app, allow_origin=allow_origin), silent=True)
