"""Where the settings of a process come from: flags, before variables, before a file.

A value that is none is an error wherever it stands, also if another takes its place; all of them
are found, so that nobody mends one to meet the next."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Union

from meinheld._limits import Limits
from meinheld._settings import SETTINGS, Setting, Settings, Value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_VARIABLE: Final = "MEINHELD_CONFIG"

# Bytes of a file of settings; what is larger is some other file.
_FILE_MOST: Final = 1 << 20

_SHOWN_MOST: Final = 300  # characters of a value

# What a source says of a setting: where, the value as it stands there, and that once it is read.
_Said = tuple[Setting, str, object, Union[Value, ValueError]]


class SettingsError(Exception):
    """Settings that can't be; problems has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Configuration:
    """Settings, and which of them were said where; the others are defaults."""

    settings: Settings
    origins: Mapping[str, str]

    def as_toml(self) -> str:
        """A file that says the same."""
        lines = []
        for name in SETTINGS:
            value: Value = getattr(self.settings, name)
            line = f"# {name} =" if value is None else f"{name} = {_toml(value)}"
            origin = self.origins.get(name)
            lines.append(f"{line}  # {_comment(origin)}" if origin else line)
        return "\n".join(lines) + "\n"


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but that it leaves DEL as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(part) for part in value)}]"
    return repr(value)


def _comment(text: str) -> str:
    """text without what a comment may not have (TOML, "Comment")."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _shown(said: object) -> str:
    """A value as an error shows it: on one line, of no absurd length."""
    try:
        text = repr(said)
    except ValueError:  # Python writes no integer of thousands of digits
        return "an integer too large to be shown"
    return text if len(text) <= _SHOWN_MOST else f"{text[:_SHOWN_MOST]}..."


# ---- flags


class _Parser(argparse.ArgumentParser):
    """One whose errors are a line, as all others here are."""

    def error(self, message: str) -> Any:
        raise SettingsError([f"{message} (see {self.prog} --help)"])


def flag_parser(version: str) -> argparse.ArgumentParser:
    """A parser whose results are texts, or True and False of switches, by a setting's name; None
    for what was not said. Beside them config, check and print_config."""
    parser = _Parser(
        prog="meinheld",
        description="Serves a WSGI application.",
        epilog="Each setting may also be said by a variable of the environment, as "
        "MEINHELD_MAX_BODY, or by a key of the file, as max_body; a flag counts before a variable, "
        "a variable before the file. docs/settings.md has all of them.",
        allow_abbrev=False,
    )
    doing = parser.add_argument_group("Settings of a file, and what to do with settings")
    doing.add_argument(
        "--config", metavar="FILE", help=f"a TOML file of settings; also {CONFIG_VARIABLE}"
    )
    doing.add_argument(
        "--check",
        action="store_true",
        help="serve nothing, but say what to mend: settings, the application's import, limits of "
        "this machine; exit status 1 if there is something",
    )
    doing.add_argument(
        "--print-config",
        action="store_true",
        help="serve nothing, but print all settings as such a file, with where they come from",
    )
    doing.add_argument("--version", action="version", version=f"meinheld {version}")
    groups: dict[str, Any] = {}
    for setting in SETTINGS.values():
        if setting.group not in groups:
            groups[setting.group] = parser.add_argument_group(setting.group)
        _add_flag(groups[setting.group], setting)
    return parser


def _add_flag(group: Any, setting: Setting) -> None:
    help = setting.help.replace("%", "%%")
    if setting.kind == "texts":
        help += "; may be given several times"
    if setting.choices:
        help += f": {setting.allowed}"
    if setting.default not in (None, (), False):
        default = setting.default
        said = ",".join(default) if isinstance(default, tuple) else default
        help += f" (default: {said})"
    if setting.name == "app":
        group.add_argument("app", nargs="?", metavar=setting.metavar, help=help)
    elif setting.kind == "switch":
        group.add_argument(setting.flag, action=_Switch, nargs=0, help=help)
    elif setting.alone is not None:
        help += f" (FILE may be left out, {setting.flag} being last: {setting.alone})"
        options = {"nargs": "?", "const": setting.alone, "metavar": setting.metavar}
        group.add_argument(setting.flag, help=help, **options)
    else:
        metavar = "|".join(setting.choices) or setting.metavar
        action = "append" if setting.kind == "texts" else "store"
        group.add_argument(setting.flag, metavar=metavar, action=action, help=help)


class _Switch(argparse.Action):
    """--name, and --no-name for what a variable or a file has switched on."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        (name,) = option_strings
        super().__init__([name, name.replace("--", "--no-", 1)], dest, **options)

    def __call__(
        self, parser: object, namespace: argparse.Namespace, values: object, option: Any = None
    ) -> None:
        setattr(namespace, self.dest, not str(option).startswith("--no-"))


# ---- what the sources say


def _read(setting: Setting, where: str, said: Any) -> _Said:
    """A value of a flag or variable."""
    try:
        if isinstance(said, bool):
            return setting, where, said, said
        if isinstance(said, list):  # the values of one flag
            parts: list[Any] = [setting.from_text(text) for text in said]
            return setting, where, said, sum(parts, ())
        return setting, where, said, setting.from_text(said)
    except ValueError as exc:
        return setting, where, said[0] if isinstance(said, list) and len(said) == 1 else said, exc


def _of_file(path: str, where: str, problems: list[str]) -> Iterator[_Said]:
    try:
        with open(path, "rb") as file:
            content = file.read(_FILE_MOST + 1)
        if len(content) > _FILE_MOST:
            raise ValueError(f"larger than {_FILE_MOST} bytes")
        keys = tomllib.loads(content.decode())
    except OSError as exc:
        problems.append(f"{where} {path!r}: {exc.strerror or exc}")
        return
    except UnicodeDecodeError:
        problems.append(f"{where} {path!r}: not in UTF-8")
        return
    except RecursionError:
        problems.append(f"{where} {path!r}: nested too deep")
        return
    except ValueError as exc:  # TOML's errors are such, and so is a path with a NUL
        problems.append(f"{where} {path!r}: {' '.join(str(exc).split())}")
        return
    for key, value in keys.items():
        setting = SETTINGS.get(key)
        if setting is None:
            near = get_close_matches(key.replace("-", "_").lower(), SETTINGS, 1, 0)[0]
            problems.append(f"{path}: there is no setting {_shown(key)}; the nearest is {near!r}")
            continue
        try:
            yield setting, f"{path}: {key}", value, setting.from_file(value)
        except ValueError as exc:
            yield setting, f"{path}: {key}", value, exc


def _of_variables(environ: Mapping[str, str]) -> Iterator[_Said]:
    for setting in SETTINGS.values():
        text = environ.get(setting.variable)
        if text:  # an empty one is none: so it is taken back where it can't be unset
            yield _read(setting, setting.variable, text)


def _of_flags(flags: argparse.Namespace) -> Iterator[_Said]:
    for setting in SETTINGS.values():
        said = getattr(flags, setting.name)
        if said is not None:
            yield _read(setting, setting.flag, said)


def _sources(
    flags: argparse.Namespace, environ: Mapping[str, str], problems: list[str]
) -> Iterator[_Said]:
    """Whatever is said, the last to count."""
    if flags.config is not None:
        yield from _of_file(flags.config, "--config", problems)
    elif environ.get(CONFIG_VARIABLE):
        yield from _of_file(environ[CONFIG_VARIABLE], CONFIG_VARIABLE, problems)
    yield from _of_variables(environ)
    yield from _of_flags(flags)


def configure(flags: argparse.Namespace, environ: Mapping[str, str]) -> Configuration:
    """The settings that the flags say, those of flag_parser(), and the environment, and the file
    that one of them names. Raises SettingsError."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting, where, said, value in _sources(flags, environ, problems):
        if isinstance(value, ValueError):
            problems.append(f"{where} {_shown(said)}: {value}")
        else:
            values[setting.name] = value
            origins[setting.name] = where
    settings = Settings(**values)
    if not problems:
        problems.extend(_contradictions(settings, origins))
    if problems:
        raise SettingsError(problems)
    return Configuration(settings, origins)


def _contradictions(settings: Settings, origins: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with settings that are right one by one."""
    try:
        Limits().changed(settings.limits())
    except ValueError as exc:
        where = origins.get("low_water") or origins["high_water"]
        yield f"{where}: {exc}"
    format = settings.access_log_format
    if settings.access_log is None and format != Settings.access_log_format:
        flag = SETTINGS["access_log"].flag
        yield f"{origins['access_log_format']} {format!r}: of no use without {flag}"


def close_to_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that are none of ours, but look as if they were to be, and which."""
    known = {setting.variable for setting in SETTINGS.values()} | {CONFIG_VARIABLE}
    for name in environ:
        if name.startswith("MEINHELD_") and name not in known:
            for near in get_close_matches(name, known, 1, 0.85):
                yield name, near
