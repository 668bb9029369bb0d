"""Which fields vLLM is sent: those that its own description of itself declares."""

from __future__ import annotations

import pytest

from engineroom.errors import APIError
from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from engineroom_vllm import surface
from engineroom_vllm.engine import VLLMEngine


def described(schema: object) -> dict[str, object]:
    body = {"requestBody": {"content": {"application/json": {"schema": schema}}}}
    schemas = {
        "ByText": {"properties": {"input": {}, "dimensions": {}}},
        "ByChat": {"allOf": [{"properties": {"messages": {}}}]},
    }
    return {"paths": {EMBEDDINGS: {"post": body}}, "components": {"schemas": schemas}}


def test_the_fields_of_every_alternative_count() -> None:
    either = {"anyOf": [{"$ref": "#/components/schemas/ByText"}, {"$ref": "#/components/schemas/ByChat"}]}
    fields = surface.fields_of(described(either))
    assert {"input", "dimensions", "messages"} <= fields[EMBEDDINGS]
    assert fields.keys() == {EMBEDDINGS}
    assert surface.fields_of(described({})) == {}
    assert surface.fields_of({}) == {}


def test_a_field_that_is_not_declared_is_refused_and_one_without_effect_left_out() -> None:
    honoured = surface.pinned_fields()
    asked = {"model": "m", "messages": [], "top_k": 3}
    assert surface.prepare(CHAT_COMPLETIONS, asked, honoured) is None
    assert surface.prepare(CHAT_COMPLETIONS, {**asked, "store": True}, honoured) == asked
    assert surface.prepare("/tokenize", {"anything": 1}, honoured) is None
    for stop, sent in (("", []), (["", "x"], ["x"])):
        assert surface.prepare(CHAT_COMPLETIONS, {**asked, "stop": stop}, honoured) == {**asked, "stop": sent}
    assert surface.prepare(CHAT_COMPLETIONS, {**asked, "stop": "x"}, honoured) is None
    for name in ("functions", "temprature", "verbosity", "web_search_options"):
        with pytest.raises(APIError) as refused:
            surface.prepare(CHAT_COMPLETIONS, {**asked, name: ["low"]}, honoured)
        assert refused.value.param == name


def test_what_vllm_would_drop_of_a_message_is_shown_or_refused() -> None:
    honoured = surface.pinned_fields()
    refusing = {"model": "m", "messages": [{"role": "assistant", "content": None, "refusal": "No."}]}
    sent = surface.prepare(CHAT_COMPLETIONS, refusing, honoured)
    assert sent == {"model": "m", "messages": [{"role": "assistant", "content": "No."}]}
    with pytest.raises(APIError) as refused:
        surface.prepare(CHAT_COMPLETIONS, {"messages": [{"role": "user", "content": "x", "unheard_of": 1}]}, honoured)
    assert refused.value.param == "messages.0.unheard_of"
    for not_checked_here in ("x", [None], [{"content": 5, "role": ["user"]}]):
        surface.prepare(CHAT_COMPLETIONS, {"messages": not_checked_here}, honoured)


@pytest.mark.real_vllm
@pytest.mark.timeout(600)
async def test_the_recorded_fields_are_those_of_the_real_one(vllm: VLLMEngine) -> None:
    recorded = surface.pinned_fields()
    assert {path: vllm._honoured[path] for path in (CHAT_COMPLETIONS, COMPLETIONS)} == {
        path: recorded[path] for path in (CHAT_COMPLETIONS, COMPLETIONS)
    }
