"""Writes the C source of the extension module: gen_native.py MODULE CDEF CSRC OUTPUT.

What `cffi-gen-src read-sources` does, with any release of cffi: PyPy's own is too old to have it.
"""

import sys
from pathlib import Path

from cffi import FFI

module, cdef, csrc, output = sys.argv[1:]
ffi = FFI()
ffi.cdef(Path(cdef).read_text())
ffi.set_source(module, Path(csrc).read_text())
ffi.emit_c_code(output)
