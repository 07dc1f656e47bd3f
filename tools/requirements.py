"""Prints what pip is to install, from pyproject.toml: requirements.py GROUP.

GROUP is an extra, or build, which stands for what building in the tree takes: the build
requirements, ninja, and the package's own dependencies.
"""

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

with (Path(__file__).parent.parent / "pyproject.toml").open("rb") as file:
    pyproject = tomllib.load(file)

group = sys.argv[1]
if group == "build":
    lines = [*pyproject["build-system"]["requires"], "ninja", *pyproject["project"]["dependencies"]]
else:
    lines = pyproject["project"]["optional-dependencies"][group]
print("\n".join(lines))
