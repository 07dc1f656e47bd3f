"""Hello world under gunicorn: gunicorn -c examples/gunicorn.conf.py examples.hello:hello_world"""

bind = "127.0.0.1:8000"
workers = 2
worker_class = "meinheld.gmeinheld.MeinheldWorker"
graceful_timeout = 20  # seconds that requests have to end when a worker is to
max_requests = 100_000
max_requests_jitter = 10_000
accesslog = "-"


def post_worker_init(worker):
    """Sets what gunicorn has no setting for."""
    from meinheld import server

    server.set_limits(head_timeout=5, max_body=1024 * 1024)
