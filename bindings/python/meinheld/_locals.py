"""What threading.local is after ``meinheld.patch.patch_local()``: values of a request.

Requests that wait share the loop's thread with those that are served meanwhile, and so they share
what a framework keeps by thread: a database's connection, and with it a transaction. Here values
belong to a *home*: that of the request or task which the loop's greenlet serves, and elsewhere that
of the greenlet, which is the thread's own where nobody makes any. So it is in the threads of a
pool, of which a request has one for itself, also while it waits.

A home is kept by whom it is of, in a slot or attribute, so it dies with it and costs nothing where
it is not used; a thread's is in one of the interpreter's own locals. Values are kept by the local
object, so that a cycle through it is garbage, for each home by a key that no other ever has. When
a home dies it takes them out; it knows the local objects weakly."""

from __future__ import annotations

import _thread
import _threading_local
import gc
import logging
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any, Final
from weakref import ref

from greenlet import getcurrent, greenlet

from meinheld._seat import Seat, loop_seats

_original: Final[Any] = _thread._local
_of_thread: Final = _original()  # its attribute: the home of each thread
_find_seat: Final = loop_seats.get
_logger: Final = logging.getLogger("meinheld.error")

# Whose locals must not be of the interpreter's kind when a server starts, and whose may be: PyPy's
# greenlets are made of some.
_WRONG_IN: Final = ("asgiref", "django", "sqlalchemy")
_RIGHT_IN: Final = {
    "greenlet",
    *getattr(sys, "stdlib_module_names", ("asyncio", "multiprocessing")),
}

# Local objects that a home knows before it looks whether they are still there.
_ROOM: Final = 64

_warned = False


class _Home:
    """What makes the values of one request, task, greenlet or thread its own."""

    __slots__ = ("_insides", "_room", "key")

    def __init__(self) -> None:
        self.key = object()
        self._insides: list[ref[_Inside]] = []
        self._room = _ROOM

    def enter(self, inside: _Inside) -> dict[str, Any]:
        """Makes room for values in a local object."""
        if len(self._insides) == self._room:  # a thread may live for long, and locals not
            self._insides = [known for known in self._insides if known() is not None]
            self._room = max(_ROOM, 2 * len(self._insides))
        self._insides.append(ref(inside))
        values = inside.values[self.key] = {}
        return values

    def end(self) -> None:
        """Drops the values."""
        for known in self._insides:
            inside = known()
            if inside is not None:
                inside.values.pop(self.key, None)

    __del__ = end


class _Inside:
    """What a local object is made of."""

    __slots__ = ("__weakref__", "args", "descriptors", "kwargs", "values")

    def __init__(self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args  # of __init__, for each home
        self.kwargs = kwargs
        self.values: dict[object, dict[str, Any]] = {}  # by the key of a home
        self.descriptors = _PLAIN if cls is local else _descriptors(cls)


def _descriptors(cls: type) -> frozenset[str]:
    """The names in a class that come before those of an instance: data descriptors."""
    found: dict[str, bool] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            kind = type(value)
            found[name] = hasattr(kind, "__set__") or hasattr(kind, "__delete__")
    return frozenset(name for name, is_data in found.items() if is_data)


class local:
    """threading.local, with values for each request or task in place of each thread; and for each
    greenlet outside of these. As there, __init__ is called anew for each, and what a subclass has
    in __slots__ is shared by all.

    Its own __dict__ stays empty, so that object's methods find what classes have."""

    __slots__ = ("__dict__", "__weakref__", "_local__inside")

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Any:
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        inside = _Inside(cls, args, kwargs)
        object.__setattr__(self, "_local__inside", inside)
        # Before __init__ is called, so that it is not called twice.
        _home(_find_seat(getcurrent())).enter(inside)
        return self

    def __getattribute__(self, name: str) -> Any:
        inside = _inside_of(self)
        seat = _find_seat(getcurrent())
        if seat is None:
            values = _values(self, inside, None)
        else:  # without a call, as frameworks ask for the same again and again
            try:
                values = inside.values[seat.serving.locals.key]  # type: ignore[attr-defined]
            except (AttributeError, KeyError):
                values = _values(self, inside, seat)
        if name in values and name not in inside.descriptors:
            return values[name]
        if name == "__dict__":
            return values
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        inside = _inside_of(self)
        values = _values(self, inside, _find_seat(getcurrent()))
        if name not in inside.descriptors:
            values[name] = value
        elif name == "__dict__":
            raise _read_only(self)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        inside = _inside_of(self)
        values = _values(self, inside, _find_seat(getcurrent()))
        if name in values and name not in inside.descriptors:
            del values[name]
        elif name == "__dict__":
            raise _read_only(self)
        else:
            object.__delattr__(self, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")


_inside_of: Final[Any] = vars(local)["_local__inside"].__get__
_PLAIN: Final = _descriptors(local)


def _read_only(self: local) -> AttributeError:
    return AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")


def _home(seat: Seat | None) -> _Home:
    """That of the calling code, which works in that seat."""
    holder: Any = None if seat is None else seat.serving
    if holder is None:
        current = getcurrent()
        if current.parent is not None:
            return _home_of_greenlet(current)
        holder = _of_thread
    try:
        home: _Home = holder.locals
    except AttributeError:
        home = holder.locals = _Home()
    return home


def _home_of_greenlet(current: greenlet) -> _Home:
    """That of one which is no thread's first."""
    attributes = vars(current)
    home: _Home | None = attributes.get(__name__)  # no attribute's name has a dot
    if home is None:
        home = attributes[__name__] = _Home()
    return home


def _values(self: local, inside: _Inside, seat: Seat | None) -> dict[str, Any]:
    """A local object's values for the calling code, made by its __init__ if there are none."""
    home = _home(seat)
    values = inside.values.get(home.key)
    if values is None:
        values = home.enter(inside)
        if type(self).__init__ is not object.__init__:
            try:
                type(self).__init__(self, *inside.args, **inside.kwargs)
            except BaseException:
                inside.values.pop(home.key, None)  # it is tried again
                raise
    return values


def forget(holder: Any) -> None:
    """A request or task has ended, and with it its values, whoever keeps it."""
    home = getattr(holder, "locals", None)
    if home is not None:
        del holder.locals
        home.end()


# ---- in place of threading.local


def install() -> None:
    """Has threading.local be the one above; before anything makes or subclasses some, which check()
    looks at. A second call has no effect."""
    for module, name in ((threading, "local"), (_thread, "_local"), (_threading_local, "local")):
        setattr(module, name, local)


def installed() -> bool:
    """Whether install() was called."""
    return getattr(_thread, "_local", None) is local


def check() -> None:
    """If install() was called: raises RuntimeError if it came too late for what a database's
    connections are kept in, naming the modules; warns of whatever else it was too late for."""
    if not installed():
        return
    wrong: dict[str, None] = {}
    doubtful: dict[str, None] = {}
    for old in [item for item in gc.get_objects() if issubclass(type(item), _original)]:
        names = _holders(old)
        tops = {name.partition(".")[0] for name in names}
        if not tops.isdisjoint(_WRONG_IN):
            wrong.update(dict.fromkeys(names))
        elif tops.isdisjoint(_RIGHT_IN) and __name__ not in names:
            doubtful.update(dict.fromkeys(names))
    late = "patch_local() came after %s, which keeps values by thread"
    if doubtful:
        _logger.warning(late, " and ".join(doubtful))
    if wrong:
        raise RuntimeError(f"{late % ' and '.join(wrong)}: call it before these are imported")
    _check_asgiref()


def _holders(held: object) -> list[str]:
    """The modules of what leads to an object, up to one that has it by a name."""
    names: dict[str, None] = {}
    level: list[object] = [held]
    for _ in range(6):
        found = gc.get_referrers(*level)
        above = [item for item in found if item is not level and not isinstance(item, FrameType)]
        for item in above:
            if type(item) is not dict:
                names[type(item).__module__] = None
                continue
            module = sys.modules.get(str(item.get("__name__")))
            if module is not None and vars(module) is item:
                names[module.__name__] = None
                return [name for name in names if name != "builtins"]
        level = above
    return [name for name in names if name != "builtins"] or [type(held).__module__]


def _check_asgiref() -> None:
    """Before 3.7 it went by threads without a local."""
    module = sys.modules.get("asgiref.local")
    if module is not None:
        probe = module.Local(thread_critical=True)
        probe.value = None
        if greenlet(lambda: hasattr(probe, "value")).switch():
            raise RuntimeError("asgiref keeps values by thread: patch_local() needs 3.7 of it")


# ---- without it


def check_atomic(seat: Seat) -> None:
    """Warns, once, that what is to wait holds a transaction which is not its own. To be called if
    django.db is there."""
    global _warned
    if _warned or installed():
        return
    connections: Any = getattr(sys.modules["django.db"], "connections", None)
    open_in: list[str] = []
    with suppress(Exception):  # there may be no settings, and then no connection
        open_in += [c.alias for c in connections.all(initialized_only=True) if c.in_atomic_block]
    if open_in:
        _warned = True
        served: Any = seat.serving
        _logger.warning(
            "%s waits inside transaction.atomic() (%s): the requests that are served meanwhile use"
            " its connection, and end its transaction. meinheld.patch.patch_local() gives each its"
            " own",
            "something" if served is None else served.title(),
            ", ".join(open_in),
        )
