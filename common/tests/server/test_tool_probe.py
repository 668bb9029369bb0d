"""Tools that a server would ignore: how the probe finds it out."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.server import tool_probe


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
    [(False, True, "none"), (True, False, "optional"), (True, True, "forced")],
)
async def test_what_becomes_of_tools_is_found_out(shows: bool, forces: bool, expected: str) -> None:
    upstream: Any = StandinUpstream(shows=shows, forces=forces)
    assert await tool_probe.probe_tools(upstream, "m") == expected
