"""A Flask application: python examples/flask_hello.py [PORT]"""

import sys

from flask import Flask
from meinheld import server

app = Flask(__name__)


@app.get("/")
def hello():
    return "Hello world!\n"


if __name__ == "__main__":
    port = server.listen(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
    print(f"http://127.0.0.1:{port}/", flush=True)
    server.run(app, silent=True)
