"""The documents: each file that one of them links to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from harness import HERE

ROOT = HERE.parent.parent
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/*.md", "*/README.md", "tests/*/README.md")
    for path in ROOT.glob(pattern)
)


def test_there_are_documents() -> None:
    assert Path("README.md") in DOCUMENTS


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_what_a_document_links_to_is_there(document: Path) -> None:
    targets = LINK.findall((ROOT / document).read_text())
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (ROOT / document.parent / target).exists()]
    assert missing == []
