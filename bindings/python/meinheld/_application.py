"""The application that MODULE:APP names: imported, looked up, and made if it is a factory's."""

from __future__ import annotations

import importlib
import traceback
from types import TracebackType
from typing import Any, Callable

from meinheld._settings import parse_spec

DEFAULT_NAMES = ("application", "app")


class StartError(Exception):
    """What keeps a server from starting; its text is the one line to print."""


def one_line(exc: BaseException) -> str:
    """An exception as "Type: message", line ends and runs of blanks made one blank."""
    text = str(exc.msg if isinstance(exc, SyntaxError) else exc)
    return f"{type(exc).__name__}: {' '.join(text.split())}" if text else type(exc).__name__


def _place(exc: BaseException, tb: TracebackType | None) -> str | None:
    """Where an exception of an import comes from; None if no file's code was running."""
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}:{exc.lineno}"
    own = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(tb)
        if frame.filename not in own and not frame.filename.startswith("<frozen importlib")
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # SystemExit too: a module that exits can't be served
        place = _place(exc, exc.__traceback__)
        if place is None and isinstance(exc, ModuleNotFoundError):
            # Its own import found no file. Anything that it imports in turn has a place.
            reason = f"there is no module {exc.name!r}"
        else:
            reason = one_line(exc) + (f" ({place})" if place else "")
        raise StartError(f"cannot import {name!r}: {reason}") from exc


def _default_name(module_name: str, module: Any) -> str:
    for name in DEFAULT_NAMES:
        try:
            getattr(module, name)
        except AttributeError:
            continue
        except Exception as exc:
            reason = one_line(exc)
            raise StartError(f"module {module_name!r}, attribute {name!r}: {reason}") from exc
        return name
    names = " or ".join(repr(name) for name in DEFAULT_NAMES)
    raise StartError(f"module {module_name!r} has no attribute {names}")


def _look_up(module_name: str, module: Any, attributes: str) -> Any:
    found = module
    reached = f"module {module_name!r}"
    for name in attributes.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise StartError(f"{reached} has no attribute {name!r}") from None
        except Exception as exc:  # a module or a class may make its attributes when asked for
            raise StartError(f"{reached}, attribute {name!r}: {one_line(exc)}") from exc
        reached = f"{reached}, {name!r}"
    return found


def _check_callable(what: str, value: Any) -> None:
    if not callable(value):
        raise StartError(f"{what} is not callable: it is of type {type(value).__name__}")


def load_app(spec: str) -> Callable[..., Any]:
    """The application that spec names; without a name: "application", else "app".

    Raises ValueError if spec is not of the form, and StartError when the module can't be imported,
    lacks the attribute, it is not callable, or it is a factory that fails."""
    module_name, attributes, is_factory = parse_spec(spec)
    module = _import(module_name)
    if attributes is None:
        attributes = _default_name(module_name, module)
    app = _look_up(module_name, module, attributes)
    _check_callable(f"'{module_name}:{attributes}'", app)
    if is_factory:
        try:
            app = app()
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            place = _place(exc, exc.__traceback__)
            reason = one_line(exc) + (f" ({place})" if place else "")
            raise StartError(f"'{spec}' fails: {reason}") from exc
        _check_callable(f"what '{spec}' returns", app)
    return app  # type: ignore[no-any-return]
