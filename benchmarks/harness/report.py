"""Samples -> tables: medians, the ratios, which hold from machine to machine, and the targets."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from harness.cases import Server, Workload
from harness.measure import Idle, Load

Row = tuple[Server, "list[Load | Idle] | str"]  # the samples, or why there are none


def loads(row: Row) -> list[Load]:
    return [sample for sample in row[1] if isinstance(sample, Load)]


def median_cpu(row: Row) -> float:
    return median(sample.cpu for sample in loads(row))


def ratio_bases(rows: Sequence[Row]) -> dict[str, float]:
    """What ratios are taken against: the CPU time of "limit" and that of the "best peer"."""
    found: dict[str, float] = {}
    for row in rows:
        if loads(row) and not row[0].ours:
            name = "limit" if row[0].kind == "limit" else "best peer"
            found[name] = min(median_cpu(row), found.get(name, float("inf")))
    return found


def load_cells(row: Row, bases: dict[str, float]) -> list[str]:
    samples = loads(row)
    cpus = [sample.cpu for sample in samples]
    against = ["limit", "best peer"] if row[0].kind == "python" else ["limit"]
    p99s = [sample.p99 for sample in samples if sample.p99 is not None]
    ratios = {name: f"{median(cpus) / bases[name]:.2f}" for name in against if name in bases}
    return [
        f"{median(cpus):.2f}",
        f"{min(cpus):.2f} to {max(cpus):.2f}",
        ratios.get("limit", ""),
        ratios.get("best peer", ""),
        f"{median(sample.rate for sample in samples):,.0f}",
        f"{median(p99s):.2f}" if p99s else "",
        f"{samples[-1].size}",
    ]


def idle_cells(row: Row) -> list[str]:
    samples = [sample for sample in row[1] if isinstance(sample, Idle)]
    library = [sample.library for sample in samples if sample.library is not None]
    resident = f"{median(sample.resident for sample in samples):,.0f}"
    return [resident, f"{median(library):,.0f}" if library else ""]


def target_lines(workload: Workload, rows: Sequence[Row], bases: dict[str, float]) -> list[str]:
    lines = []
    for row in rows:
        against, most = workload.targets.get(row[0].name, ("", 0.0))
        if loads(row) and against in bases:
            got = median_cpu(row) / bases[against]
            verdict = "is reached" if got <= most else "is the target"
            lines.append(f"{row[0].name}: {got:.2f} of the {against}; {most:.2f} {verdict}.")
    return lines


def table(workload: Workload, rows: Sequence[Row]) -> str:
    """The Markdown of one workload."""
    bases = ratio_bases(rows)
    if workload.client == "idle":
        titles = ["server", "resident bytes a connection", "the library's bytes"]
    else:
        titles = ["server", "CPU us an answer", "least to most", "of limit", "of best peer"]
        titles += ["answers/s", "p99 ms", "bytes"]
    lines = [f"## {workload.title}", "", titles, ["---"] * len(titles)]
    for row in rows:
        if isinstance(row[1], str):
            cells = [row[1].replace("|", "\\|").replace("\n", " ")]
        else:
            cells = idle_cells(row) if workload.client == "idle" else load_cells(row, bases)
        lines.append([row[0].name, *cells] + [""] * (len(titles) - 1 - len(cells)))
    text = [line if isinstance(line, str) else f"| {' | '.join(line)} |" for line in lines]
    targets = target_lines(workload, rows, bases)
    return "\n".join([*text, "", *targets] if targets else text)
