"""Ways to run a program as somebody with fewer rights: that the kernel refuses port 80, also for
root and in containers; or that is not root.

Who may bind a port below 1024 depends on the user, on capabilities, and on a sysctl of the network
namespace that containers often set to 0. Each way here is tried with a plain bind first, so a test
that uses one tests something.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

# Takes the capability away but leaves root its files: a checkout may be readable for root alone.
_NO_CAPABILITY = [
    "setpriv",
    "--inh-caps=-net_bind_service",
    "--ambient-caps=-net_bind_service",
    "--bounding-set=-net_bind_service",
]
# A new network namespace has the kernel's own setting of the sysctl.
_NEW_NAMESPACE = ["unshare", "--net"]
_NEW_USER_NAMESPACE = ["unshare", "--user", "--net"]
# Where no namespace can be made, strace answers bind(2) with EACCES in the kernel's place.
_INJECTED = ["strace", "-f", "-qq", "-e", "trace=bind", "-e", "inject=bind:error=EACCES"]

_PROBE = """
import socket, sys
try:
    socket.socket().bind(("0.0.0.0", 80))
except PermissionError:
    sys.exit(7)
"""


def _works(prefix: list[str]) -> bool:
    if prefix and shutil.which(prefix[0]) is None:
        return False
    probe = subprocess.run(
        [*prefix, sys.executable, "-c", _PROBE], capture_output=True, timeout=20, check=False
    )
    return probe.returncode == 7


def without_port_80(scratch: Path) -> list[str]:
    """What to put before a command so that port 80 is refused to it; fails if nothing is."""
    injected = [*_INJECTED, "-o", str(scratch / "strace")]
    ways = [
        [],
        _NO_CAPABILITY,
        [*_NEW_NAMESPACE, *_NO_CAPABILITY],
        _NEW_USER_NAMESPACE,
        injected,
    ]
    for prefix in ways:
        if _works(prefix):
            return prefix
    raise AssertionError(
        "port 80 is refused to nobody here: no setpriv, unshare or strace that works"
    )


def as_user(user: str, directory: Path) -> list[str]:
    """What to put before a program that refuses to run as root, so that it runs as user, who gets
    directory; nothing for whoever is not root."""
    if os.geteuid() != 0:
        return []
    entry = pwd.getpwnam(user)
    os.chown(directory, entry.pw_uid, entry.pw_gid)
    return ["setpriv", f"--reuid={user}", f"--regid={entry.pw_gid}", "--clear-groups"]
