"""Requests that are looked at before they pass to an engine that would ignore a field."""

from __future__ import annotations

from typing import Any

import pytest

from engineroom.errors import APIError
from engineroom.openai.routes import CHAT_COMPLETIONS
from engineroom.openai.strict import checked, refuse

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}


def test_nulls_are_left_out_and_unknown_fields_left_alone() -> None:
    assert checked(CHAT_COMPLETIONS, {**ASKED, "n": None, "min_p": 0.1}) == {**ASKED, "min_p": 0.1}
    assert checked("/v1/elsewhere", {"n": "x", "a": None}) == {"n": "x"}
    with pytest.raises(APIError) as refused:
        checked(CHAT_COMPLETIONS, {**ASKED, "temperature": 9})
    assert refused.value.param == "temperature"


def test_a_field_that_would_be_ignored_is_refused_by_name() -> None:
    refuse({"suffix": None, "echo": False}, {"suffix": "", "echo": ""}, "Engine")
    with pytest.raises(APIError, match="Engine does not support 'echo'; set ECHO=true") as refused:
        refuse({"echo": True}, {"echo": "set ECHO=true"}, "Engine")
    assert (refused.value.param, refused.value.code) == ("echo", "unsupported_parameter")
