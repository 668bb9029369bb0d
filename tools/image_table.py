"""What pages say of the images: the table of docs/images.md, between two markers, and full names anywhere."""

from __future__ import annotations

import re
from pathlib import Path

from engineroom.hardware import Matrix

BEGIN, END = "<!-- images:begin -->", "<!-- images:end -->"
BADGE = re.compile(r"(?<=<!-- badge:begin -->).*?(?=<!-- badge:end -->)", re.DOTALL)
"""Where the README has the badge of RunPod's Hub."""


def table(matrix: Matrix) -> str:
    """One line an image."""
    lines = ["| image | engine | CUDA | driver | GPUs (compute capability) | runs as |", "|---|---|---|---|---|---|"]
    for row in matrix.rows:
        sm = ", ".join(f"{number[:-1]}.{number[-1]}" for number in row.sm)
        driver = f"≥ {row.driver}" if row.driver else "-"
        lines.append(
            f"| `{row.name}` | {row.engine} {row.version} | {row.cuda or '-'} | {driver} | {sm or 'none: CPU'} "
            f"| {'root' if row.root else row.user} |"
        )
    return "\n".join(lines)


def fill(text: str, matrix: Matrix) -> str:
    """`text` with the table between its markers; as it is where it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return text
    return f"{before}{BEGIN}\n{table(matrix)}\n{END}{after}"


def pages(root: Path) -> list[str]:
    """What people read of the repository at `root`, and where an image may be called by its full name."""
    return [
        "README.md",
        "CONTRIBUTING.md",
        "docker-compose.yml",
        *sorted(f"docs/{p.name}" for p in root.glob("docs/*.md")),
    ]


def full_names(matrix: Matrix) -> re.Pattern[str]:
    """Full names of images in a text, as `repository`, `tag` (what it begins with) and `row`. A repository that a shell
    fills in is none."""
    rows = "|".join(re.escape(row.name) for row in sorted(matrix.rows, key=lambda row: -len(row.name)))
    return re.compile(
        rf"(?<![\w./:$\x7b\x7d-])(?P<repository>[\w.-]+(:\d+)?(/[\w.-]+)*):(?P<tag>[\w.]+)-(?P<row>{rows})(?![\w.])"
    )


def renamed(text: str, matrix: Matrix) -> str:
    """`text` with each of the images under the matrix's repository."""
    return full_names(matrix).sub(lambda name: f"{matrix.repository}:{name['tag']}-{name['row']}", text)


def with_badge(text: str, matrix: Matrix) -> str:
    """`text` with the badge that leads to its page in RunPod's Hub, where the matrix says which repository it is."""
    name = matrix.source.partition("://github.com/")[2]
    badge = f"[![RunPod](https://api.runpod.io/badge/{name})](https://console.runpod.io/hub/{name})" if name else ""
    return BADGE.sub(badge, text)
