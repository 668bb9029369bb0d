"""Writes docs/fields.md: what becomes of each field of a request with each engine. `make fields`.

With --check it writes nothing and exits with 1 where the page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import spec_fields
from field_reasons import no_effect
from observed_fields import ENGINES, FieldObserver, Outcome

PAGE = Path(__file__).parents[1] / "docs" / "fields.md"
BEGIN = "<!-- generated: the tables. `make fields` writes them -->"
TITLES = {
    "chat": "Chat completions",
    "completions": "Completions",
    "embeddings": "Embeddings",
    "responses": "Responses",
    "messages": "Messages",
}


@cache
def observer(engine: str) -> FieldObserver:
    """The observer of one engine."""
    return FieldObserver(engine)


@cache
def outcomes(engine: str, surface: str) -> dict[str, Outcome]:
    """Path -> what becomes of it. What stands inside of a refused field, or of one without effect, is left out."""
    seen: dict[str, Outcome] = {}
    closed: tuple[str, ...] = ()
    for field in spec_fields.spec_fields(surface):
        if field.path in seen or field.path.startswith(closed):
            continue
        seen[field.path] = outcome = observer(engine).outcome(field)
        if outcome in ("refused", "no effect"):
            closed += (f"{field.path}.", f"{field.path}[")
    return seen


def tables() -> Iterator[str]:
    """The lines of the generated part."""
    for surface, title in TITLES.items():
        columns = {name: outcomes(name, surface) for name in ENGINES if observer(name).has(surface)}
        reasons = {field.path: no_effect(field) for field in spec_fields.spec_fields(surface)}
        paths = list(dict.fromkeys(path for column in columns.values() for path in column))
        yield from ("", f"## {title}", "", f"| field | {' | '.join(columns)} |", "|---|" + "---|" * len(columns))
        notes: dict[str, list[str]] = {}
        for path in paths:
            cells = [column.get(path, "") for column in columns.values()]
            yield f"| `{path}` | {' | '.join(cells)} |"
            reason = reasons.get(path)
            if "no effect" in cells and reason:
                notes.setdefault(reason, []).append(f"`{path}`")
        yield from ("", "Without effect, and why:", "")
        yield from (f"* {reason}: {', '.join(named)}." for reason, named in notes.items())


def page() -> str:
    """The whole page."""
    words = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    return words + BEGIN + "\n" + "\n".join(tables()) + "\n"


def main() -> int:
    made = page()
    if made == PAGE.read_text(encoding="utf-8"):
        return 0
    if "--check" in sys.argv:
        print("docs/fields.md is stale; `make fields` writes it")
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
