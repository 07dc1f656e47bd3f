"""Samples -> tables: medians, the ratios, which hold from machine to machine, and the targets."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from harness.cases import Case, Column

Row = tuple[str, "list[dict[str, float]] | str"]  # a server, and its samples or why there are none


def figures(row: Row, key: str) -> list[float]:
    return [] if isinstance(row[1], str) else [s[key] for s in row[1] if key in s]


def best_of(rows: Sequence[Row], names: Sequence[str], key: str) -> float | None:
    """The least of the medians of those of the servers that have been measured."""
    found = [median(f) for row in rows if row[0] in names and (f := figures(row, key))]
    return min(found, default=None)


def ratio(row: Row, rows: Sequence[Row], names: Sequence[str], key: str) -> float | None:
    """To the best of the named servers."""
    base = best_of(rows, names, key)
    values = figures(row, key)
    return median(values) / base if values and base else None


def titles_of(case: Case, column: Column) -> list[str]:
    if not column.compared:
        return [column.title]
    return [column.title, "least to most", *(f"of {title}" for title, _ in case.groups)]


def cells_of(case: Case, column: Column, row: Row, rows: Sequence[Row]) -> list[str]:
    values = figures(row, column.key)
    if not values:
        return [""] * len(titles_of(case, column))
    cells = [f"{median(values):,.{column.digits}f}"]
    if column.compared:
        cells.append(f"{min(values):,.{column.digits}f} to {max(values):,.{column.digits}f}")
        ratios = [ratio(row, rows, names, column.key) for _, names in case.groups]
        cells += ["" if r is None else f"{r:.2f}" for r in ratios]
    return cells


def target_lines(case: Case, rows: Sequence[Row]) -> list[str]:
    lines = []
    titles = {column.key: column.title for column in case.columns}
    for target in case.targets:
        names = dict(case.groups)[target.against] if target.against else ()
        for row in rows:
            if row[0] != target.server or not (values := figures(row, target.column)):
                continue
            got = ratio(row, rows, names, target.column) if names else median(values)
            if got is not None:
                verdict = "is reached" if got <= target.most else "is the target"
                of = f" of {target.against}" if names else ""
                what = f"{row[0]}, {titles[target.column]}: {got:,.2f}{of}"
                lines.append(f"- {what}; {target.most:,.2f} {verdict}.")
    return lines


def table(case: Case, rows: Sequence[Row]) -> str:
    """The Markdown of one case."""
    titles = ["server", *(t for column in case.columns for t in titles_of(case, column))]
    lines = [titles, ["---"] * len(titles)]
    for row in rows:
        if isinstance(row[1], str):
            cells = [row[1].replace("|", "\\|").replace("\n", " ")]
        else:
            cells = [c for column in case.columns for c in cells_of(case, column, row, rows)]
        lines.append([row[0], *cells] + [""] * (len(titles) - 1 - len(cells)))
    text = [f"## {case.name}: {case.title}", ""]
    text += [f"| {' | '.join(line)} |" for line in lines]
    targets = target_lines(case, rows)
    return "\n".join([*text, "", *targets] if targets else text)
