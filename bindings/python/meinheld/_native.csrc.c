/* The extension module's own C, put before what cffi generates. The C half itself is in
 * ../native, file by noun: hub.c (a run: loop, server, timers, watches), requests.c (callbacks
 * to events), statics.c, seen.c, events.c, names.c, answer.c.
 *
 * Who owns what, and for how long:
 * - A hub lives from mhpy_new to mhpy_free, one per run() of server.py. _loop.py alone holds the
 *   pointer; it puts NULL in its place before freeing, and every function here takes NULL for a
 *   closed hub.
 * - Python keeps no pointer to anything of the library. Requests and timers are called by names
 *   (slot and generation), and a name that has outlived its thing gets MH_ECLOSED or MH_ENOENT.
 * - A batch (integers and text) is the hub's, and void at the next call; Python copies both at
 *   once.
 * - Python's bytes are borrowed for the length of a call, but for mhpy_answer(MHPY_BORROW) and
 *   mhpy_lend: there the library keeps the pointer, and Python the object, until MHPY_FINISH, or
 *   MHPY_RETURNED. The library lets go of its queue before it says on_finish.
 * - Callbacks come inside mhpy_step and inside the flush that ends an answer. They only append
 *   events, so no Python code ever runs above a C frame of the loop, and greenlets may switch
 *   wherever Python code can.
 * - Only mhpy_wakeup and what is said of mail is called by other threads. _loop.py holds a lock
 *   around the first and around the end of the hub; the mail has a lock of its own.
 * - cffi releases the GIL around every call, and beside a thread that computes it then takes 5 ms
 *   until it is given back. The calls of other threads keep it, and that of each request that
 *   waits: they are short, and wait for nothing.
 */
#include <string.h>

#include "mhpy.h"

#ifndef PYPY_VERSION
/* Whether the function that cffi calls so keeps the GIL. The compiler decides it. */
static inline bool mhpy_keeps_gil(const char *caller) {
    return strcmp(caller, "_cffi_f_mhpy_stream_wait") != 0 &&
           (strncmp(caller, "_cffi_f_mhpy_mail_", 18) == 0 ||
            strncmp(caller, "_cffi_f_mhpy_stream_", 20) == 0 ||
            strcmp(caller, "_cffi_f_mhpy_wakeup") == 0 ||
            strcmp(caller, "_cffi_f_mhpy_wait") == 0 || strcmp(caller, "_cffi_f_mhpy_check") == 0 ||
            strcmp(caller, "_cffi_f_mhpy_make") == 0 || strcmp(caller, "_cffi_f_mhpy_unmake") == 0);
}

#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS \
    {                          \
        PyThreadState *_save = mhpy_keeps_gil(__func__) ? NULL : PyEval_SaveThread();
#define Py_END_ALLOW_THREADS                \
    if (_save) PyEval_RestoreThread(_save); \
    }
#endif
