"""A Pyramid application: python examples/pyramid_hello.py [PORT]"""

import sys

from meinheld import server
from pyramid.config import Configurator
from pyramid.response import Response


def hello(request):
    return Response(f"Hello {request.matchdict['name']}!\n")


def make_app():
    with Configurator() as config:
        config.add_route("hello", "/hello/{name}")
        config.add_view(hello, route_name="hello")
        return config.make_wsgi_app()


if __name__ == "__main__":
    port = server.listen(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
    print(f"http://127.0.0.1:{port}/hello/world", flush=True)
    server.run(make_app(), silent=True)
