"""Write docs/other-names.md from the tables of other programs' names; `--check` only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from engineroom import plugins
from engineroom.settings import Environment, FlagsAside, OtherName, Settings
from engineroom.settings.usual_settings import USUAL_SETTINGS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "other-names.md"

BEGINNING = """# Other programs' names for settings

Made by `tools/other_names.py`; do not edit.

A variable that another server knows by another name is never ignored silently:

* **taken**: it means exactly what ours does. Its value counts, and a line of the log says so.
* **refused**: it means nearly that. The start ends with an error that names our setting and the difference. Where our
  setting is set as well, it is only a warning.
* **warned of**: it may be meant for another program. A file of ours (`ENGINEROOM_CONFIG`) may not have it.

What looks like a key for clients (`AUTH_TOKEN`, or `VLLM_API_KEY` with another engine) stops the start where a network
could use the door without a key. A name with one wrong letter, underscore or prefix is reported with the right one."""


def main() -> int:
    text = "\n".join(lines()) + "\n"
    if "--check" in sys.argv:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


def lines() -> Iterator[str]:
    """The page, line by line."""
    yield BEGINNING
    for group in plugins.common_settings():
        if isinstance(group, type) and issubclass(group, Settings) and group.other_names:
            yield from ("", f"## {group.title}", "")
            yield from table(group.other_names)
    engines = plugins.loadable(Environment.of({}))
    known = {name: engine for name, engine in engines.items() if engine.usual_settings}
    yield from ("", "## What most servers have", "")
    yield "Each is the setting that its column names; with an engine that has none, it is warned of."
    yield from ("", f"| names | {' | '.join(known)} |", "|---|" + "---|" * len(known))
    for usual in USUAL_SETTINGS:
        ours = [engine.usual_settings.get(usual) for engine in known.values()]
        cells = [f"`{name}`" if name else "" for name in ours]
        near = f"; refused: {names(name for name, _ in usual.near)}" if usual.near else ""
        yield f"| {names(usual.names)}{near} | {' | '.join(cells)} |"
    for name, engine in engines.items():
        aside = [group for group in engine.settings(Environment.of({})) if isinstance(group, FlagsAside)]
        others = dict(engine.other_names)
        for group in aside:
            others.update(group.other_names)
        if others:
            yield from ("", f"## With ENGINE={name}", "")
            yield from table(others)


def table(others: Mapping[str, OtherName]) -> Iterator[str]:
    """A row for each setting: the names that are taken, refused, and warned of."""
    yield from ("| setting | taken | refused | warned of |", "|---|---|---|---|")
    for ours in sorted({other.ours for other in others.values()}):
        outcomes: dict[str, list[str]] = {outcome: [] for outcome in ("taken", "refused", "warned of")}
        for name, other in others.items():
            if other.ours == ours:
                outcomes.get(other.outcome, outcomes["warned of"]).append(name)
        yield f"| {f'`{ours}`' if ours else 'none'} | {' | '.join(names(each) for each in outcomes.values())} |"


def names(each: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in each)


if __name__ == "__main__":
    sys.exit(main())
