/* A kernel of the test's own: sockets, epoll, eventfd and timerfd that live in memory, and a clock
 * that stands still, behind the same functions as Linux's. The library is linked statically, so
 * that the definitions in kernel.c take the place of libc's; descriptors that are not simulated,
 * and everything before kernel_start, go to the real kernel. Files are always real.
 *
 * With it a whole connection runs without a system call, always the same way, and any single call
 * can be made to fail in each way that its manual page names. */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From here on what the library opens is simulated; no fault is planned. */
void kernel_start(void);
/* Forgets all connections. Returns how many descriptors the library has left open. */
unsigned kernel_stop(void);
/* Time passes; what is due happens in the next step. */
void kernel_pass_ms(uint64_t ms);
void kernel_pass_us(uint64_t us);
/* Nanoseconds of the monotonic clock. */
uint64_t kernel_now_ns(void);
/* Whether epoll_wait would report something: whoever polls epoll's descriptor would be woken. */
bool kernel_is_ready(void);

/* While it is, no file is in memory. */
void kernel_disk_busy(bool busy);

/* ---- clients --------------------------------------------------------------------------------- */

/* A listening socket, for mh_server_listen_fd. */
int kernel_listen(void);

typedef struct kernel_client kernel_client;

/* Connects: it waits in the listener's backlog. NULL: too many. Owned by the kernel. */
kernel_client *kernel_connect(void);
/* How many wait to be accepted. */
size_t kernel_waiting(void);
/* The port that it connects from, by which mh_req_peer knows it. */
uint16_t kernel_port(const kernel_client *c);
/* The client sends n bytes, which all fit. */
void kernel_send(kernel_client *c, const void *p, size_t n);
/* At most so many bytes that the client has not taken may be under way to it; 1 MiB at first. */
void kernel_window(kernel_client *c, size_t n);
/* The client takes what has come, at most n bytes. Returns how many came. */
size_t kernel_take(kernel_client *c, size_t n);
/* All that it has taken so far; valid until the next kernel_take. */
const char *kernel_taken(const kernel_client *c, size_t *n);
/* The end of its input: FIN. */
void kernel_shut(kernel_client *c);
/* It goes, as by close(2): FIN, and what is sent to it from then on is answered by RST. */
void kernel_leave(kernel_client *c);
/* It goes with RST. */
void kernel_reset(kernel_client *c);
/* The server has closed the connection, or shut down its side of it. */
bool kernel_ended(const kernel_client *c);
/* It has done so by RST. */
bool kernel_was_reset(const kernel_client *c);

/* ---- files ----------------------------------------------------------------------------------- */

/* A regular file that is open for writing, empty; to be closed by close(2). There is one at a time.
 */
int kernel_file(void);
/* What has been written to it, also after it was closed. */
const char *kernel_written(size_t *n);

/* ---- faults ---------------------------------------------------------------------------------- */

/* The at-th simulated call from now on (1: the next; 0: none) fails in its variant-th way (from 0).
 */
void kernel_plan_fault(size_t at, size_t variant);

typedef struct kernel_fault {
    bool reached;  /* the call came */
    bool made;     /* it has such a variant, and has failed so */
    bool passing;  /* one that a program has to get over without losing anything: EINTR, a part of
                      what was asked for, no descriptors for a while */
    char name[48]; /* "recv: Connection reset by peer" */
} kernel_fault;

/* What has come of the plan. */
kernel_fault kernel_fault_made(void);

#endif
