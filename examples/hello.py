"""Hello world: python examples/hello.py"""

from meinheld import server


def hello_world(environ, start_response):
    status = "200 OK"
    res = b"Hello world!"
    response_headers = [("Content-type", "text/plain"), ("Content-Length", str(len(res)))]
    start_response(status, response_headers)
    return [res]


if __name__ == "__main__":
    server.listen(("127.0.0.1", 8000))
    print("http://127.0.0.1:8000/ - try: curl -i http://127.0.0.1:8000/", flush=True)
    server.run(hello_world)
