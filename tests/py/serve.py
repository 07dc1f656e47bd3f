"""What a test's server process runs: an app on listening sockets that the test made.

    python serve.py MODULE:APP FD[,FD...] [NAME=JSON ...]

Each NAME=JSON calls server.set_NAME(JSON), or set_NAME(*JSON) if that is a list; those of the form
limits.NAME=JSON together call server.set_limits(NAME=JSON, ...), and static.PREFIX=JSON calls
server.static(PREFIX, **JSON), the pairs of its headers made tuples. The sockets listen before this
process starts, so a test can connect at once: its connection waits in the backlog, and no test has
to guess when its server is ready.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def main() -> None:
    spec, fd_list, *settings = sys.argv[1:]
    fds = [int(fd) for fd in fd_list.split(",")]
    module, _, name = spec.partition(":")
    app = getattr(importlib.import_module(module), name)

    from meinheld import server

    limits = {}
    statics = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        group, _, limit = key.partition(".")
        if group == "static":
            statics[limit] = json.loads(value)
        elif limit:
            limits[limit] = json.loads(value)
        else:
            arguments = json.loads(value)
            several = arguments if isinstance(arguments, list) else [arguments]
            getattr(server, f"set_{group}")(*several)
    server.set_limits(**limits)
    for prefix, options in statics.items():
        headers = [(name, value) for name, value in options.pop("headers", [])]
        server.static(prefix, headers=headers, **options)
    server.listen(socket_fd=fds)
    for fd in fds:
        os.close(fd)  # the server has its own by now, and these are inheritable
    server.run(app)


if __name__ == "__main__":
    main()
