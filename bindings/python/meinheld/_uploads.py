"""Request bodies on their way in: collected by events, each handed on when it is complete."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import cast

from meinheld._environ import Environ
from meinheld._input import Memory, Upload
from meinheld._loop import Loop
from meinheld._native import lib
from meinheld._response import ErrorLog, ExcInfo
from meinheld._sender import BAD_REQUEST, FAILED, TOO_LARGE, Sender


class Uploads:
    """The bodies of one loop. A request with one is kept here, by its name, until it is complete;
    reading asks for MHPY_FINISH if its client leaves before."""

    def __init__(
        self, sender: Sender, log: ErrorLog, buffer: int, ready: Callable[[int, Environ], None]
    ) -> None:
        """buffer: bytes of a body above which it goes to a file; ready: called with a request's
        name and environ, its wsgi.input set, when all is there."""
        self._sender = sender
        self._log = log
        self._buffer = buffer
        self._ready = ready
        self._memory = Memory()
        self._uploads: dict[int, Upload] = {}

    def attach(self, loop: Loop) -> None:
        """The loop that runs it; to be called before that runs."""
        self._loop = loop

    def begin(self, name: int, environ: Environ, chunked: bool) -> None:
        """A request has come that has a body."""
        upload = Upload(name, environ, chunked, self._buffer, self._memory)
        self._uploads[name] = upload
        self._receive(upload)

    def readable(self, name: int) -> None:
        """More of a body has come."""
        upload = self._uploads.get(name)
        if upload is not None:
            self._receive(upload)

    def finish(self, name: int) -> None:
        """A request has ended."""
        upload = self._uploads.pop(name, None)
        if upload is not None:
            upload.close()

    def _receive(self, upload: Upload) -> None:
        """Takes what there is of a body, and hands the request on if that was all."""
        while True:
            data, state = self._loop.read(upload.name)
            if not self._keep(upload, data, state == lib.MHPY_READ_END):
                state = lib.MH_ESYS
            if state == lib.MHPY_READ_WAIT:
                return
            if state != lib.MHPY_READ_FULL:
                break
        del self._uploads[upload.name]
        try:
            if state == lib.MHPY_READ_END:
                self._ready(upload.name, upload.environ)
            elif state == lib.MH_ESYS:
                self._sender.refuse(upload.name, FAILED)
            elif state == lib.MH_ETOOBIG:
                self._sender.refuse(upload.name, TOO_LARGE)
            elif state == lib.MH_EBODY:
                self._sender.refuse(upload.name, BAD_REQUEST)
            else:  # its client has left, maybe by a half-close: there is nobody to answer
                self._sender.abort(upload.name)
        finally:
            upload.close()

    def _keep(self, upload: Upload, data: memoryview, complete: bool) -> bool:
        """Adds to a body, and ends it if it is complete. False if there is no room for it, on disk
        or in memory: that ends the request, not the server."""
        try:
            upload.write(data)
            if complete:
                upload.complete()
        except (OSError, MemoryError):
            self._log("a request body could not be kept", cast(ExcInfo, sys.exc_info()))
            return False
        return True
