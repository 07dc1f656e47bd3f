"""Sends back what comes by WebSocket: python examples/websocket_echo.py [PORT]"""

import sys

from meinheld import server
from meinheld.websocket import WebSocketWSGI


def echo(ws):
    for message in ws:  # a str or bytes, until the client leaves
        ws.send(message)


if __name__ == "__main__":
    port = server.listen(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
    print(
        f"http://127.0.0.1:{port}/ - try: python -m websockets ws://127.0.0.1:{port}/", flush=True
    )
    server.run(WebSocketWSGI(echo), silent=True)
