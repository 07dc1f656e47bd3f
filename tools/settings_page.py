"""Prints docs/settings.md, from the settings themselves: make docs writes it."""

from __future__ import annotations

from itertools import groupby

from meinheld._settings import SETTINGS, Setting

HEAD = """\
# Settings of the command line

<!-- Made by tools/settings_page.py: make docs -->

Each setting can be said in three places. A flag counts before a variable of the environment, and
that before a key of the file that `--config FILE` or `MEINHELD_CONFIG` names, in TOML:

    app = "shop:app"
    bind = ["127.0.0.1:8000", "unix:/run/shop/http"]
    threads = 8
    head_timeout = 2.5
    access_log = "-"

- The flag of `max_body` is `--max-body`, its variable `MEINHELD_MAX_BODY`; the application, `app`,
  is the one argument that is no flag.
- Sizes are bytes, times seconds. A switch is `--reload` or `--no-reload`, and `true` or `false`
  elsewhere.
- A list is that in the file. Its flag may be given several times, and commas separate its parts in
  a flag and in a variable. What is said in one place takes the place of the whole list said in
  another.
- An empty variable is none.
- A value that is not allowed is an error, also where another takes its place, and so is an unknown
  key: a line for each, which names the setting, where it was said, its value and what is allowed;
  exit status 2. Variables that are unknown are left alone, since systems make up names of their
  own, but `--check` tells of those that look like one of these.

`--print-config` prints all settings, as such a file, with where each comes from. `--check` says
what to mend, a line each: in the settings, in the application's import, in the machine's limits on
open files and on connections that wait; its exit status is then 1. [deploy.md](deploy.md) says how
to run it all.
"""


def shown(value: object) -> str:
    """A default, as it stands in a table."""
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(f"`{part}`" for part in value)
    return f"`{value}`"


def row(setting: Setting) -> str:
    """A setting's line."""
    texts = [setting.metavar] if setting.metavar and not setting.is_number else []
    allowed = setting.allowed
    if setting.kind == "text":
        allowed = f"`{texts[0]}`"
    elif setting.kind == "texts":
        allowed = f"a list of `{texts[0]}`"
    cells = [f"`{setting.name}`", setting.help, allowed, shown(setting.default)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


print(HEAD)
groups = groupby(SETTINGS.values(), lambda setting: setting.group)
print(
    "\n".join(
        "\n".join(
            [
                f"## {group}\n",
                "| setting | what it is | allowed | default |",
                "|---|---|---|---|",
                *[row(setting) for setting in settings],
                "",
            ]
        )
        for group, settings in groups
    ).rstrip()
)
