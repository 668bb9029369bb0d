"""The table of images for docs/images.md, between two markers."""

from __future__ import annotations

from engineroom.hardware import Matrix

BEGIN, END = "<!-- images:begin -->", "<!-- images:end -->"


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
