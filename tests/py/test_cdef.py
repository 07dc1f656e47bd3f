"""What Python believes about the C half must be what the C half says of itself.

cffi checks types and constants against the header when the extension is compiled, but not
everything: a function that is in one place only, an event that has got another meaning. The texts
themselves are compared here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from meinheld._native import lib

BINDING = Path(__file__).resolve().parents[2] / "bindings" / "python"
PUBLIC = Path(__file__).resolve().parents[2] / "libmeinheld" / "include" / "meinheld.h"


def without_comments(path: Path) -> str:
    """C text with one space for each comment and each run of blanks, and none where C needs
    none."""
    text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.S)
    text = re.sub(r"^\s*#.*$", "", text, flags=re.M).replace("MH_API ", "")
    return re.sub(r"\s+", " ", text)


CDEF = without_comments(BINDING / "meinheld" / "_native.cdef.h")
HEADERS = without_comments(BINDING / "native" / "mhpy.h") + without_comments(PUBLIC)


def functions(text: str) -> dict[str, str]:
    """Declarations by the functions' names."""
    found = re.finditer(r"(?<=[;}] )((?:const )?\w+ \*?(mh(?:py)?_[a-z_]+)\([^()]*\));", text)
    return {match[2]: match[1] for match in found}


def constants(text: str) -> dict[str, int]:
    """Enumerators with the values that are written beside them."""
    return {name: int(value) for name, value in re.findall(r"\b(MH(?:PY)?_\w+) = (-?\d+)", text)}


def structs(text: str) -> dict[str, str]:
    return {
        match[2]: match[1] for match in re.finditer(r"typedef struct \w+ ({[^{}]*}) (\w+);", text)
    }


def stub() -> dict[str, list[str]]:
    """Attributes of Lib in _native.pyi, with the names of a function's arguments."""
    tree = ast.parse((BINDING / "meinheld" / "_native.pyi").read_text())
    (cls,) = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Lib"]
    names: dict[str, list[str]] = {}
    for node in cls.body:
        if isinstance(node, ast.FunctionDef):
            names[node.name] = [argument.arg for argument in node.args.args[1:]]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = []
    return names


def test_every_function_is_declared_as_the_header_declares_it() -> None:
    declared = functions(CDEF)
    assert len(declared) > 15
    real = functions(HEADERS)
    assert declared == {name: real.get(name) for name in declared}


def test_no_function_of_the_c_half_is_left_out() -> None:
    ours = {name for name in functions(HEADERS) if name.startswith("mhpy_") and "__" not in name}
    assert ours == {name for name in functions(CDEF) if name.startswith("mhpy_")}


def test_every_constant_has_the_value_of_the_header() -> None:
    declared = constants(CDEF)
    assert len(declared) > 30
    real = constants(HEADERS)
    assert declared == {name: real.get(name) for name in declared}


def test_no_event_flag_or_state_is_left_out() -> None:
    real = {name for name in constants(HEADERS) if name.startswith("MHPY_") and "__" not in name}
    assert real == {name for name in constants(CDEF) if name.startswith("MHPY_")}


def test_every_struct_has_the_fields_of_the_header() -> None:
    declared = structs(CDEF)
    assert set(declared) == {
        "mh_config",
        "mhpy_options",
        "mhpy_static_options",
        "mhpy_batch",
        "mhpy_counts",
    }
    real = structs(HEADERS)
    assert declared == {name: real.get(name) for name in declared}


def test_the_extension_was_made_from_this_cdef() -> None:
    assert set(dir(lib)) == set(functions(CDEF)) | set(constants(CDEF))
    assert {name: getattr(lib, name) for name in constants(CDEF)} == constants(CDEF)


def test_the_stub_names_what_the_cdef_declares() -> None:
    arguments = {
        name: re.findall(r"(\w+)[,)]", declaration) for name, declaration in functions(CDEF).items()
    }
    expected = {
        **{name: [a for a in args if a != "void"] for name, args in arguments.items()},
        **{name: [] for name in constants(CDEF)},
    }
    assert stub() == expected


def test_a_drift_would_be_seen() -> None:
    """The comparisons above are no better than what they take out of the texts."""
    drifted = CDEF.replace(
        "int64_t mhpy_timer(mhpy *hub, uint64_t ms)", "int mhpy_timer(mhpy *hub)"
    )
    assert drifted != CDEF and functions(drifted) != functions(CDEF)
    drifted = CDEF.replace("MHPY_FINISH = -7", "MHPY_FINISH = -9")
    assert drifted != CDEF and constants(drifted) != constants(CDEF)
    drifted = CDEF.replace("size_t text_n; ", "")
    assert drifted != CDEF and structs(drifted) != structs(CDEF)
