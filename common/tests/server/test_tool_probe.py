"""Tools that a server would ignore: how it is found out, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.errors import APIError
from engineroom.server import tool_probe

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        ("unseen", None, "tools"),
        ("unseen", "none", None),
        ("optional", None, None),
        ("optional", "auto", None),
        ("optional", "required", "tool_choice"),
        ("optional", {"type": "function", "function": {"name": "f"}}, "tool_choice"),
        ("forced", "required", None),
    ],
)
def test_tools_that_would_be_ignored_are_refused(tools: tool_probe.Tools, choice: object, param: str | None) -> None:
    request = {**ASKED, "tools": TOOLS, "tool_choice": choice}
    if param is None:
        tool_probe.check(request, tools)
        return
    with pytest.raises(APIError) as refused:
        tool_probe.check(request, tools)
    assert refused.value.param == param


class StandinUpstream:
    """A server whose prompt is longer with tools where it shows them, and that may be made to call them."""

    def __init__(self, *, shows: bool, forces: bool) -> None:
        self._shows, self._forces = shows, forces

    async def ask(self, path: str, json: dict[str, Any]) -> Any:
        called = self._forces and json.get("tool_choice") == "required"
        prompt = 20 if self._shows and json.get("tools") else 10
        message = {"tool_calls": [{"id": "1"}] if called else None}
        return {"usage": {"prompt_tokens": prompt}, "choices": [{"message": message}]}


@pytest.mark.parametrize(
    ("shows", "forces", "expected"),
    [(False, True, "unseen"), (True, False, "optional"), (True, True, "forced")],
)
async def test_what_becomes_of_tools_is_found_out(shows: bool, forces: bool, expected: str) -> None:
    upstream: Any = StandinUpstream(shows=shows, forces=forces)
    assert await tool_probe.find_out(upstream, "m") == expected
