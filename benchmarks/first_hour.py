"""`make bench-first-hour`: how soon a newcomer's typical mistakes are answered (writes benchmarks/first_hour.md).

Each of the mistakes of `tests/support/mistakes.py` is made three times, one start after another, and the median
counts. Two seconds are allowed, five where a network is asked.
"""

from __future__ import annotations

import socket
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from mistakes import MISTAKES, Answer, Mistake, make, make_files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_suffix(".md")
ROUNDS = 3
LIMIT_S = 2
LIMIT_WITH_NETWORK_S = 5


def row(mistake: Mistake, answers: list[Answer]) -> str:
    """A row of the table."""
    seconds = statistics.median(answer.seconds for answer in answers)
    limit = LIMIT_WITH_NETWORK_S if mistake.asks_network else LIMIT_S
    command = " ".join([*(f"{name}={value}" for name, value in mistake.settings.items()), *mistake.arguments])
    late = "" if seconds <= limit else " (late)"
    return (
        f"| {mistake.title} | `{command}` | {seconds:.2f}{late} | {answers[0].last_line.replace('|', chr(92) + '|')} |"
    )


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as busy:
        folder = Path(name)
        make_files(folder)
        for number, mistake in enumerate(MISTAKES, 1):
            print(f"\r{number}/{len(MISTAKES)} {mistake.title:50}", end="", flush=True)
            answers = [make(mistake, folder, busy.getsockname()[1]) for _ in range(ROUNDS)]
            # Where this machine has things is nobody's business.
            rows.append(row(mistake, answers).replace(name, "~").replace(str(ROOT), "~/engineroom"))
    print()
    RESULTS.write_text(
        "\n".join(
            [
                "# A newcomer's mistakes",
                "",
                f"`make bench-first-hour`: the median of {ROUNDS} starts, from the command to its end. "
                f"{LIMIT_S} s are allowed, {LIMIT_WITH_NETWORK_S} s where a network is asked.",
                "",
                "| mistake | settings and command | s | the last line |",
                "|---|---|---|---|",
                *rows,
                "",
            ]
        )
    )
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
