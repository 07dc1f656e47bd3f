"""Runs a command as systemd runs a service to which it hands sockets (sd_listen_fds(3)):

python activated.py FD[,FD...] COMMAND...
"""

import fcntl
import os
import sys

FIRST = 3

fds, *command = sys.argv[1:]
# Out of the way first: one may be where another has to be.
copies = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in fds.split(",")]
for fd in fds.split(","):
    os.close(int(fd))
for number, copy in enumerate(copies, FIRST):
    os.dup2(copy, number)
    os.close(copy)
os.environ.update(LISTEN_FDS=str(len(copies)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="http")
os.execvp(command[0], command)
