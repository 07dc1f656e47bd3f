"""The settings of the command line: where they come from, what they may be, how they are shown."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from harness import HERE
from meinheld._configuration import (
    Configuration,
    SettingsError,
    close_to_variables,
    configure,
    flag_parser,
)
from meinheld._limits import Limits
from meinheld._settings import SETTINGS, Settings

ROOT = HERE.parent.parent


def read(*flags: str, file: Path | None = None, **variables: str) -> Configuration:
    """The configuration of flags, variables (without MEINHELD_) and a file."""
    config = [] if file is None else ["--config", str(file)]
    environ = {f"MEINHELD_{name}": value for name, value in variables.items()}
    return configure(flag_parser("1").parse_args([*config, *flags]), environ)


def problems(*flags: str, file: Path | None = None, **variables: str) -> list[str]:
    """What is wrong with them."""
    with pytest.raises(SettingsError) as caught:
        read(*flags, file=file, **variables)
    return caught.value.problems


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a file of settings."""

    def write(text: str) -> Path:
        path = tmp_path / "site.toml"
        path.write_text(text)
        return path

    return write


Write = Callable[[str], Path]


# ---- sources


def test_without_a_source_all_are_defaults() -> None:
    configuration = read()
    assert configuration.settings == Settings()
    assert configuration.origins == {}


def test_a_flag_counts_before_a_variable_and_that_before_the_file(write: Write) -> None:
    file = write("threads = 1\nbacklog = 1\nmax_fields = 1\n")
    configuration = read("--threads", "3", file=file, THREADS="2", BACKLOG="2")
    settings = configuration.settings
    assert (settings.threads, settings.backlog, settings.max_fields) == (3, 2, 1)
    assert configuration.origins == {
        "threads": "--threads",
        "backlog": "MEINHELD_BACKLOG",
        "max_fields": f"{file}: max_fields",
    }


def test_a_variable_names_the_file_unless_a_flag_does(write: Write, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("threads = 7\n")
    file = write("threads = 1\n")
    assert read(CONFIG=str(other)).settings.threads == 7
    assert read(file=file, CONFIG=str(other)).settings.threads == 1


def test_an_empty_variable_is_none(write: Write) -> None:
    assert read(file=write("threads = 1\n"), THREADS="", ACCESS_LOG="").settings == Settings(
        threads=1
    )


def test_each_kind_of_setting_is_read_from_each_source(write: Write) -> None:
    by_flags = read(
        "site:app",
        *["--bind", "unix:a", "--bind", ":1,[::1]:2"],
        *["--threads", "4", "--head-timeout", "1.5", "--reload", "--proxy-protocol", "v2"],
        *["--static", "/a=b", "--access-log-format", "json", "--access-log"],
    )
    by_variables = read(
        APP="site:app",
        BIND="unix:a, :1,[::1]:2",
        THREADS="4",
        HEAD_TIMEOUT="1.5",
        RELOAD="true",
        PROXY_PROTOCOL="v2",
        STATIC="/a=b",
        ACCESS_LOG="-",
        ACCESS_LOG_FORMAT="json",
    )
    by_file = read(
        file=write(
            'app = "site:app"\nbind = ["unix:a", ":1", "[::1]:2"]\nthreads = 4\n'
            'head_timeout = 1.5\nreload = true\nproxy_protocol = "v2"\nstatic = ["/a=b"]\n'
            'access_log = "-"\naccess_log_format = "json"\n'
        )
    )
    expected = Settings(
        app="site:app",
        bind=("unix:a", ":1", "[::1]:2"),
        threads=4,
        head_timeout=1.5,
        reload=True,
        proxy_protocol="v2",
        static=("/a=b",),
        access_log="-",
        access_log_format="json",
    )
    assert by_flags.settings == by_variables.settings == by_file.settings == expected


def test_a_switch_is_taken_back_by_a_flag_and_by_a_variable(write: Write) -> None:
    file = write("reload = true\n")
    assert not read("--no-reload", file=file).settings.reload
    assert not read(file=file, RELOAD="0").settings.reload
    assert read("--reload", RELOAD="false").settings.reload


# ---- what is none


@pytest.mark.parametrize(
    ("name", "said", "reason"),
    [
        ("threads", "x", "not an integer from 0 to 4096"),
        ("threads", "-1", "not an integer from 0 to 4096"),
        ("threads", "1_0", "not an integer from 0 to 4096"),
        ("threads", "9" * 5000, "not an integer from 0 to 4096"),
        ("head_timeout", "0", "not a number of seconds from 0.001 to 4294967.295"),
        ("head_timeout", "nan", "not a number of seconds from 0.001 to 4294967.295"),
        ("head_timeout", "1e3", "not a number of seconds from 0.001 to 4294967.295"),
        ("max_fields", "65536", "not an integer from 1 to 65535"),
        ("proxy_protocol", "v3", "not off, v1, v2 or auto"),
        ("proxy_allow_ips", "10.0.0.1/8", "neither an address, a network nor *: "),
        ("forwarded_allow_ips", "localhost", "neither an address, a network nor *: "),
        ("proxy_allow_ips", "fe80::1%eth0", "neither an address, a network nor *: "),
        ("static", "static", "not of the form PREFIX=DIRECTORY"),
        ("static", "/static=", "not of the form PREFIX=DIRECTORY"),
        ("static", "static=.", "prefix must be a path like /static, not 'static'"),
        ("app", "a:b:c", "not of the form MODULE:APP, or MODULE:FACTORY()"),
        ("app", "caf\udce9:app", "not in UTF-8"),
        ("bind", "127.0.0.1:1,", "empty"),
        ("bind", "8000", "none of HOST:PORT, "),
    ],
)
def test_a_bad_value_is_one_line_with_where_it_is_what_it_is_and_what_is_allowed(
    name: str, said: str, reason: str
) -> None:
    setting = SETTINGS[name]
    flags = [said] if name == "app" else [f"{setting.flag}={said}"]
    for where, found in [
        (setting.flag, problems(*flags)),
        (setting.variable, problems(file=None, **{name.upper(): said})),
    ]:
        (line,) = found
        shown = repr(said) if len(said) < 300 else repr(said)[:300] + "..."
        assert line.startswith(f"{where} {shown}: {reason}")


@pytest.mark.parametrize(
    ("line", "said", "reason"),
    [
        ('threads = "4"', "'4'", "not an integer from 0 to 4096"),
        ("threads = 4.0", "4.0", "not an integer from 0 to 4096"),
        ("threads = true", "True", "not an integer from 0 to 4096"),
        ("head_timeout = nan", "nan", "not a number of seconds from 0.001 to 4294967.295"),
        ("head_timeout = inf", "inf", "not a number of seconds from 0.001 to 4294967.295"),
        ("reload = 1", "1", "not true or false"),
        ('bind = ":1"', "':1'", "not a list of texts"),
        ("bind = [1]", "[1]", "not a list of texts"),
        ('bind = [":1", ""]', "[':1', '']", "empty"),
        ('bind = ["unix:\\u0000"]', "['unix:\\x00']", "no path after unix:"),
        ("app = 1979-05-27", "datetime.date(1979, 5, 27)", "not a text"),
        ("[static]", "{}", "not a list of texts"),
    ],
)
def test_a_bad_value_of_a_file_is_told_likewise(
    write: Write, line: str, said: str, reason: str
) -> None:
    file = write(line)
    key = line.strip("[]").split(" ")[0]
    assert problems(file=file) == [f"{file}: {key} {said}: {reason}"]


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("max_bdy", "max_body"), ("max-body", "max_body"), ("Threads", "threads"), ("tool", None)],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(
    write: Write, key: str, nearest: str | None
) -> None:
    file = write(f"{key} = 1\n")
    (line,) = problems(file=file)
    assert line.startswith(f"{file}: there is no setting {key!r}; the nearest is ")
    assert nearest is None or line.endswith(repr(nearest))


def test_all_problems_are_told_also_of_what_does_not_count(write: Write) -> None:
    file = write("threads = -1\nthread = 1\n")
    found = problems("--threads", "4", "--backlog", "0", file=file, MIN_RATE="x")
    assert [line.split(": ")[0] for line in found] == [
        str(file),
        str(file),
        "MEINHELD_MIN_RATE 'x'",
        "--backlog '0'",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"threads = \n", "Invalid value (at line 1, column 11)"),
        (b"threads = 1\nthreads = 2\n", "Cannot overwrite a value (at line 2, column 12)"),
        (b"\xff", "not in UTF-8"),
        (b"x = " + b"[" * 100_000, "nested too deep"),
        (b"#" * (1 << 20) + b"#", "larger than 1048576 bytes"),
    ],
    ids=["value", "twice", "encoding", "nesting", "size"],
)
def test_a_file_that_is_none_is_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "site.toml"
    file.write_bytes(content)
    (line,) = problems(file=file)
    assert line.startswith(f"--config '{file}': {reason}")
    assert "\n" not in line


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000], ids=["decimal", "hex"])
def test_a_number_that_python_can_not_show_is_one_short_line(write: Write, number: str) -> None:
    (line,) = problems(file=write(f"threads = {number}\n"))
    assert len(line) < 700


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.toml"
    assert problems(file=path) == [f"--config '{path}': No such file or directory"]
    assert problems(CONFIG=str(path)) == [f"MEINHELD_CONFIG '{path}': No such file or directory"]
    assert problems(CONFIG=str(tmp_path)) == [f"MEINHELD_CONFIG '{tmp_path}': Is a directory"]
    assert len(problems("--config", "a\0b")) == 1


def test_settings_that_contradict_each_other_are_told() -> None:
    assert problems("--high-water", "5") == [
        "--high-water: low_water must be at most high_water, 5: 16384"
    ]
    assert problems(LOW_WATER="70000") == [
        "MEINHELD_LOW_WATER: low_water must be at most high_water, 65536: 70000"
    ]


def test_a_variable_that_is_nearly_one_of_ours_is_found() -> None:
    variables = {"MEINHELD_THREDS": "1", "MEINHELD_SERVICE_HOST": "x", "MEINHELD_THREADS": "1"}
    assert list(close_to_variables(variables)) == [("MEINHELD_THREDS", "MEINHELD_THREADS")]


# ---- what is shown


def test_print_config_is_a_file_that_says_the_same(write: Write, tmp_path: Path) -> None:
    odd = 'a"\\\x7f\u20ac\t\u0085\U0001f600'
    said = write('app = "a:b"\nmin_rate = 7\n')
    before = read(
        *["--static", f"/{odd}=b", "--static", "/=c", "--rate-grace", "0.25", "--reload"],
        *["--access-log", odd],
        file=said,
        THREADS="3",
    )
    text = before.as_toml()
    assert f"min_rate = 7  # {said}: min_rate\n" in text
    assert "threads = 3  # MEINHELD_THREADS\n" in text
    assert "rate_grace = 0.25  # --rate-grace\n" in text
    again = tmp_path / "again.toml"
    again.write_text(text)
    assert read(file=again).settings == before.settings


def test_print_config_of_defaults_is_a_file_that_says_the_same(write: Write) -> None:
    text = read().as_toml()
    assert "\n# app =\n" in "\n" + text
    assert read(file=write(text)).settings == Settings()


def test_print_config_leaves_no_way_out_of_its_comments(tmp_path: Path) -> None:
    file = tmp_path / "a\nthreads = 7.toml"
    file.write_text("backlog = 5\n")
    again = tmp_path / "again.toml"
    again.write_text(read(file=file).as_toml())
    assert read(file=again).settings == Settings(backlog=5)


def test_each_limit_is_a_setting_with_its_range() -> None:
    for limit in fields(Limits):
        setting = SETTINGS[limit.name]
        least, most = limit.metadata["least"], limit.metadata["most"]
        assert setting.allowed.endswith(f" from {least} to {most}")
        assert setting.default == limit.default
    assert Settings().limits() == Limits().as_dict()


def test_help_has_each_setting_and_a_format_as_it_is() -> None:
    text = flag_parser("1").format_help()
    for setting in SETTINGS.values():
        assert setting.flag in text
    assert "'%(h)s \"%(r)s\" %(s)s'" in text


def test_the_page_of_settings_is_what_its_tool_makes() -> None:
    tool = ROOT / "tools" / "settings_page.py"
    made = subprocess.run(
        [sys.executable, str(tool)], capture_output=True, text=True, timeout=30, check=True
    )
    assert (ROOT / "docs" / "settings.md").read_text() == made.stdout, "make docs"
