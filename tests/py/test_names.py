"""The original's names, each with what it means: shared/original.md's table, row by row. What is
behind them is tested in depth where it is at home."""

from __future__ import annotations

import meinheld
from meinheld import server


def test_import_meinheld_has_all_of_server_and_the_version() -> None:
    assert set(meinheld.__all__) == {"__version__", *server.__all__}
    for name in server.__all__:
        assert getattr(meinheld, name) is getattr(server, name), name
    assert meinheld.__version__ == "2.0.0"


def test_what_server_defines_for_others_is_in_its_list() -> None:
    for name, value in vars(server).items():
        if not name.startswith("_") and getattr(value, "__module__", "") == server.__name__:
            assert name in server.__all__
