"""The table of docs/limits.md: what one request may ask for, by which setting, and each engine's default."""

from __future__ import annotations

import re

from engineroom import plugins
from engineroom.openai.limits import RequestLimits
from engineroom.settings import Environment, WorkerSettings

ENGINES = ("llamacpp", "transformers")
"""Those with defaults of their own; all others have the first column's."""

_TABLE = re.compile(r"(?<=<!-- limits -->\n).*?(?=\n<!-- /limits -->)", re.DOTALL)


def fill(page: str) -> str:
    """The page with its table written anew."""
    return _TABLE.sub(lambda _: _table(), page)


def _table() -> str:
    defaults = {
        engine: RequestLimits.of(
            WorkerSettings.load(Environment.of({}).with_defaults(plugins.load_engine(engine).defaults))
        )
        for engine in ENGINES
    }
    common = RequestLimits.of(WorkerSettings())
    descriptions = {setting.name: setting.help for setting in WorkerSettings.describe()}
    lines = [f"| setting | what it counts | default | {' | '.join(ENGINES)} |", "|---|---|--:|" + "--:|" * len(ENGINES)]
    for name in RequestLimits._fields:
        cells = [_number(getattr(common, name))]
        for engine in ENGINES:
            own = getattr(defaults[engine], name)
            cells.append("" if own == getattr(common, name) else _number(own))
        lines.append(f"| `{name.upper()}` | {descriptions[name.upper()]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _number(value: int) -> str:
    return f"{value:,}"
