"""How requests, tasks and threads wait for each other: events, queues, and channels, which are
topics that one publishes to and any number read, each from where it was.

    from meinheld import sync

    def poll(environ, start_response):  # GET /poll?17: what is new after message 17
        news = sync.channel("chat").subscribe(environ["QUERY_STRING"])
        messages = news.get_all(25)  # [] if nothing has come in 25 seconds
        body = json.dumps({"messages": messages, "after": news.id, "missed": news.missed})
        ...

    def post(environ, start_response):
        sync.channel("chat").publish("hello")
        ...

Where a request or task waits, its loop serves others; in a thread of a pool, or any other, that
thread waits. A wait for what may never come ends in a request as Continuation.suspend() does:
ClientDisconnected when its client leaves, ServerStopping when its server drains, ServerBusy when
too many are suspended. All that does not wait may be called from any thread, greenlet and signal
handler, and returns at once.

Times are seconds; a timeout of None is none. All of it is of one process: a child that is forked
has copies."""

from __future__ import annotations

import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Full
from threading import RLock
from typing import Any, Final, Generic, TypeVar, cast
from weakref import WeakValueDictionary

from meinheld._checks import integer, number
from meinheld._exceptions import timeout as timed_out
from meinheld._parking import EXPIRED
from meinheld._waiter import Waiter

__all__ = ["Channel", "Empty", "Event", "Full", "Queue", "Subscription", "channel"]

T = TypeVar("T")

# Guards all that is here against other threads. Signal handlers may come while it is held, hence
# re-entrant, and may do any of this in the middle of any line. So each claims what it takes, be it
# an item, a waiter or a message's number, by one call that no handler can divide; and whatever can
# have changed under a handler is looked at again.
_lock = RLock()

_NOTHING: Final = object()


def _renew_lock() -> None:
    """In a child, where the thread that holds it may not be."""
    global _lock
    _lock = RLock()


os.register_at_fork(after_in_child=_renew_lock)


def _seconds(timeout: float | None) -> float | None:
    """timeout, if it is one. Raises TypeError and ValueError."""
    return None if timeout is None else number("timeout", timeout)


class _Bell:
    """Wakes all who wait at it at once."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[Waiter, None] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def ring(self) -> None:
        """Wakes all who wait. What they wait for is to be there already."""
        with _lock:
            waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            waiter.wake(None)

    def wait(self, is_there: Callable[[], bool], seconds: float | None) -> bool:
        """Waits until is_there(), or for the next ring. Returns False after so many seconds."""
        if is_there():
            return True
        waiter = Waiter()
        with _lock:
            self._waiters[waiter] = None
        try:
            # Once more: a ring that came before this one could be heard was not.
            return is_there() or waiter.wait_for_event(seconds) is not EXPIRED
        finally:
            with _lock:
                self._waiters.pop(waiter, None)


class Event:
    """Something that happens, once or again: as threading.Event."""

    __slots__ = ("__weakref__", "_bell", "_is_set")

    def __init__(self) -> None:
        self._bell = _Bell()
        self._is_set = False

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Sets it, and wakes all who wait for it. From any thread and signal handler."""
        self._is_set = True
        self._bell.ring()

    def clear(self) -> None:
        """Has it be not set. Who has been woken goes on all the same."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is set; returns whether it was, in timeout seconds.

        Raises TypeError or ValueError for a timeout that is none, RuntimeError in a greenlet that
        the application has made, and as said above."""
        return self._bell.wait(self.is_set, _seconds(timeout))


class _Exchange(Waiter):
    """A wait for an item, or with one for room."""

    __slots__ = ("item",)

    def __init__(self, item: object) -> None:
        super().__init__()
        self.item = item

    def hand(self, item: object) -> bool:
        """Ends the wait with an item. Returns False if it has ended already."""
        self.item = item
        if self.wake(None):
            return True
        self.item = _NOTHING
        return False


class Queue(Generic[T]):
    """Items that are each given to one: first in, first out, and to those who wait in the order in
    which they came. An item that is given to one whose wait has just ended goes to the next."""

    __slots__ = ("__weakref__", "_getters", "_items", "_maxsize", "_putters")

    def __init__(self, maxsize: int = 0) -> None:
        """maxsize: of items that wait to be taken, at which it is full; 0 for any number. Raises
        TypeError and ValueError."""
        self._maxsize = integer("maxsize", maxsize, 0)
        self._items: deque[T] = deque()
        # While somebody waits for an item there is none, and room while somebody waits for that
        # is none either, but in the middle of a _settle().
        self._getters: OrderedDict[_Exchange, None] = OrderedDict()
        self._putters: OrderedDict[_Exchange, None] = OrderedDict()

    def qsize(self) -> int:
        """How many items wait to be taken."""
        return len(self._items)

    def put_nowait(self, item: T) -> None:
        """Puts an item. Raises queue.Full if there is no room. From any thread and signal handler;
        a handler that comes just when another puts may bring one more than there is room for."""
        with _lock:
            if self._is_full():
                raise Full
            self._items.append(item)
            self._settle()

    def put(self, item: T, timeout: float | None = None) -> None:
        """Puts an item, and waits for room if there is none; raises queue.Full after timeout
        seconds. Otherwise raises what Event.wait() does; then the item was not put, unless it was
        the end of the run that ended the wait."""
        seconds = _seconds(timeout)
        try:
            self.put_nowait(item)
            return
        except Full:
            pass
        putter = _Exchange(item)
        with _lock:
            self._putters[putter] = None
            self._settle()
        try:
            if putter.wait_for_event(seconds) is EXPIRED:
                raise Full
        finally:
            with _lock:
                self._putters.pop(putter, None)

    def get_nowait(self) -> T:
        """Takes an item. Raises queue.Empty if there is none. From any thread and signal
        handler."""
        with _lock:
            try:
                item = self._items.popleft()
            except IndexError:
                raise Empty from None
            self._settle()
            return item

    def get(self, timeout: float | None = None) -> T:
        """Takes an item, and waits for one if there is none; raises queue.Empty after timeout
        seconds. Otherwise raises what Event.wait() does; then none was taken."""
        seconds = _seconds(timeout)
        with suppress(Empty):
            return self.get_nowait()
        getter = _Exchange(_NOTHING)
        with _lock:
            self._getters[getter] = None
            self._settle()
        try:
            if getter.wait_for_event(seconds) is EXPIRED:
                raise Empty
        except BaseException:
            with _lock:
                self._getters.pop(getter, None)
                if getter.item is not _NOTHING:  # handed over, and then its run has ended
                    self._items.appendleft(cast(T, getter.item))
                    self._settle()
            raise
        return cast(T, getter.item)

    def _is_full(self) -> bool:
        return 0 < self._maxsize <= len(self._items)

    def _settle(self) -> None:
        """Gives items to those who wait for them, and lets in those who wait for room."""
        while True:
            if self._items and self._getters:
                self._hand_over()
            elif self._putters and not self._is_full():
                with suppress(KeyError):  # a handler may have let it in
                    putter, _ = self._putters.popitem(last=False)
                    if putter.wake(None):
                        self._items.append(cast(T, putter.item))
            else:
                return

    def _hand_over(self) -> None:
        """Gives the first item to the first who waits. Of both, a handler may have taken it
        meanwhile."""
        with suppress(KeyError):
            getter, _ = self._getters.popitem(last=False)
            try:
                item = self._items.popleft()
            except IndexError:
                self._getters[getter] = None
                self._getters.move_to_end(getter, last=False)
                return
            if not getter.hand(item):
                self._items.appendleft(item)


class _Number:
    """The number of a message. It has been given once it is linked to the one before it, which can
    be done but once."""

    __slots__ = ("id", "link")

    def __init__(self, number: int) -> None:
        self.id = number
        self.link: dict[str, _Number] = {}  # "next"

    def last(self) -> _Number:
        """The last one that was given."""
        number = self
        while number.link:
            number = number.link["next"]
        return number

    def next(self) -> _Number:
        """Gives the next one."""
        before = self.last()
        number = _Number(before.id + 1)
        while before.link.setdefault("next", number) is not number:
            before = before.last()
            number.id = before.id + 1
        return number


class Channel(Generic[T]):
    """A topic: messages that all who subscribe get, each from where it was. It keeps the last of
    them for those who come back."""

    __slots__ = ("__weakref__", "_bell", "_end", "_kept", "_start", "name", "size")

    def __init__(self, size: int = 100) -> None:
        """size: how many messages it keeps, the last ones. Raises TypeError and ValueError."""
        self.size = integer("size", size, 1)
        self.name: str | None = None  # of one that is made by channel()
        self._bell = _Bell()
        self._start = _first_id()
        self._end = _Number(self._start)  # the last one given, or one that leads to it
        self._kept: dict[int, T] = {}

    @property
    def id(self) -> int:
        """The number of the last message; if there was none yet, of the one before the first."""
        return self._end.last().id

    @property
    def waiting(self) -> int:
        """How many wait for a message."""
        return self._bell.waiting

    def publish(self, message: T) -> int:
        """Adds a message and wakes all who wait for one. Returns its number, by one greater than
        that of the message before it; the first one's is large, so that numbers grow over a restart
        of the process too. From any thread and signal handler."""
        with _lock:
            self._end = number = self._end.next()
            self._kept[number.id] = message
            self._kept.pop(number.id - self.size, None)
            if number.id <= self.id - self.size:  # so many has a handler published meanwhile
                self._kept.pop(number.id, None)
            if self.name is not None:
                _holding[self.name] = self
        self._bell.ring()
        return number.id

    def subscribe(self, after: int | str | None = None) -> Subscription[T]:
        """A reader of what is published from now on; or after the message of that number, as a
        client has kept it, 0 for all that is kept. A str is a number in decimal digits as a client
        has sent it, and none if it is empty. What is no number of this channel's is taken for that
        of another one, of before a restart: such a client gets all that is kept, and is told that
        it has missed something.

        Raises TypeError. From any thread."""
        if after is None or after == "":
            return Subscription(self, self.id, 0)
        if isinstance(after, str):
            # 19 digits hold any number of ours; int() of very many takes long.
            after = int(after) if after.isascii() and after.isdigit() and len(after) < 20 else -1
        elif isinstance(after, bool) or not isinstance(after, int):
            raise TypeError(f"after must be an int or a str, not {after!r}")
        with _lock:
            first = self._first()
            if after == 0:
                return Subscription(self, first - 1, 0)
            if not self._start <= after <= self.id:
                return Subscription(self, first - 1, first - self._start)
        return Subscription(self, after, 0)

    def clear(self) -> None:
        """Forgets the messages that it keeps. One that channel() has made is forgotten with them,
        unless somebody holds it. From any thread and signal handler."""
        with _lock:
            if self.name is not None:
                _holding.pop(self.name, None)
            for number in list(self._kept):
                self._kept.pop(number, None)
            if self.name is not None and self._kept:
                _holding[self.name] = self

    def _first(self) -> int:
        """The number of the first message that is kept, or would be."""
        return self.id - len(self._kept) + 1

    def _has_after(self, number: int) -> bool:
        return bool(self._kept) and number < self.id

    def _take(self, reader: Subscription[T], most: int) -> list[T]:
        """What is kept after reader.id, in order, which then moves on."""
        with _lock:
            last = self.id
            if not self._has_after(reader.id):
                return []
            first = max(reader.id + 1, self._first())
            reader.missed += first - reader.id - 1
            reader.id = min(last, first + most - 1)
            return [self._kept[number] for number in range(first, reader.id + 1)]


class Subscription(Generic[T]):
    """A place in a channel, which moves on with what is read. It costs its channel nothing while
    nobody waits here, and need not be closed."""

    __slots__ = ("_channel", "id", "missed")

    def __init__(self, channel: Channel[T], number: int, missed: int) -> None:
        """Of Channel.subscribe()."""
        self._channel = channel
        # Of the last message that was read, or after which it began.
        self.id = number
        # How many messages it has not got in all, since they were not kept any more when it came to
        # read them. If it began after a message that the channel does not know, these are all that
        # the channel does not keep, and one, as there is no telling.
        self.missed = missed

    def get(self, timeout: float | None = None) -> T:
        """The next message, which it waits for. Raises server.timeout after timeout seconds, and
        otherwise what Event.wait() does."""
        messages = self._wait(timeout, 1)
        if not messages:
            raise timed_out(f"nothing was published in {timeout} seconds")
        return messages[0]

    def get_all(self, timeout: float | None = None) -> list[T]:
        """All messages that are new, of which it waits for the first; none after timeout seconds.
        Raises what Event.wait() does."""
        return self._wait(timeout, self._channel.size)

    def _wait(self, timeout: float | None, most: int) -> list[T]:
        left = _seconds(timeout)
        end = None if left is None else time.monotonic() + left
        channel = self._channel
        while True:
            messages = channel._take(self, most)
            if messages:
                return messages
            if end is not None:
                left = max(0.0, end - time.monotonic())
            if not channel._bell.wait(lambda: channel._has_after(self.id), left):
                return channel._take(self, most)


# By name: all channels; those that keep messages, which lets them stay; and those just being made.
_topics: Final[WeakValueDictionary[str, Channel[Any]]] = WeakValueDictionary()
_holding: Final[dict[str, Channel[Any]]] = {}
_making: Final[dict[str, Channel[Any]]] = {}

# The numbers of a channel begin at the microseconds since 1970 of when it was made. So they are
# greater than those of one of the same name that was there before, and fit into a double. The clock
# is looked at once, lest it be set back meanwhile.
_EPOCH: Final = time.time_ns() // 1000 - time.monotonic_ns() // 1000


def _first_id() -> int:
    return _EPOCH + time.monotonic_ns() // 1000


def channel(name: str, size: int | None = None) -> Channel[Any]:
    """The channel of that name, in this process; it is made if there is none. As long as it keeps
    no message and nobody holds it, it takes no memory: it may be asked for by any name that a
    client sends. One with messages stays, until its clear().

    size: how many messages it keeps; None for as many as it does, which is 100 if it is made here.
    Raises TypeError, and ValueError for a size that is not its own. From any thread and signal
    handler."""
    if not isinstance(name, str):
        raise TypeError(f"a channel's name must be a str, not {name!r}")
    with _lock:
        found = _topics.get(name)
        if found is None:
            made: Channel[Any] = Channel(100 if size is None else size)
            made.name = name
            made = _making.setdefault(name, made)
            found = _topics.get(name)  # a handler may have made it meanwhile
            if found is None:
                found = _topics[name] = made
            _making.pop(name, None)
    if size is not None and size != found.size:
        raise ValueError(f"the channel {name!r} keeps {found.size} messages, not {size}")
    return found
