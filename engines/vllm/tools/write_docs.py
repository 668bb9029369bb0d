"""Write docs/vllm-settings.md from the settings models and the newest flag snapshot; `--check` only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from engineroom.settings import OtherName, Setting
from engineroom_vllm import snapshots
from engineroom_vllm.engine import VLLMEngine
from engineroom_vllm.settings import VLLMSettings
from engineroom_vllm.worker_vllm import DROPPED, SpeculativeSettings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "vllm-settings.md"


def main() -> int:
    text = "\n".join(lines()) + "\n"
    if "--check" in sys.argv:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


def lines() -> Iterator[str]:
    """The page, line by line."""
    snapshot = snapshots.load(None)
    yield "# Every setting of the vLLM engine"
    yield ""
    yield "Made by `engines/vllm/tools/write_docs.py`; do not edit. What they are for: [vllm.md](vllm.md)."
    for group in (VLLMSettings, SpeculativeSettings):
        yield from ("", f"## {group.title}", "")
        yield from table(group.describe())
    yield from ("", "## Other names", "", "| set | same as |", "|---|---|")
    names = VLLMEngine.other_names
    yield from (f"| `{old}` | {_same_as(other)} |" for old, other in names.items() if other.outcome == "taken")
    yield from ("", "## Gone from vLLM", "", "A warning says the same; the worker starts.", "", "| set | instead |")
    yield "|---|---|"
    gone = {name: advice for name, advice in DROPPED.items() if name not in snapshot.table.by_variable}
    yield from (f"| `{name}` | {_cell(advice)} |" for name, advice in gone.items())
    yield from ("", f"## Flags of `vllm serve` {snapshot.table.version}", "")
    yield "With their defaults and the beginnings of their help texts, as vLLM's own parser gives them."
    flags = sorted(snapshot.table.flags, key=lambda flag: (flag.group or "", flag.name))
    described = {setting.name: setting for setting in snapshot.table.describe()}
    for title, members in groupby(flags, key=lambda flag: flag.group or ""):
        yield from ("", f"### {title}", "")
        yield from table([described[flag.variable] for flag in members])


def table(settings: Sequence[Setting]) -> Iterator[str]:
    """A row for each setting."""
    yield from ("| set | takes | default | |", "|---|---|---|---|")
    for setting in settings:
        takes = ", ".join(f"`{choice}`" for choice in setting.choices) or setting.kind
        takes += f", {setting.limits}" if setting.limits else ""
        default = f"`{_cell(setting.default)}`" if setting.default else ""
        names = ", ".join(f"`{name}`" for name in setting.names)
        yield f"| {names} | {_cell(takes)} | {default} | {_cell(setting.help)} |"


def _same_as(other: OtherName) -> str:
    return f"`{other.ours}`" if other.convert is None else f"the opposite of `{other.ours}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
