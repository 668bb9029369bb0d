"""The list of models, for OpenAI's clients and for Anthropic's."""

from __future__ import annotations

import anthropic
import httpx
import openai
import pytest

NAMES = ["echo", "org/echo"]


@pytest.fixture(scope="module")
def claude(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)


def test_openai_s_client_lists_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == NAMES
    assert client.models.retrieve("org/echo").owned_by


def test_anthropic_s_client_lists_models(claude: anthropic.Anthropic) -> None:
    models = list(claude.models.list())
    assert [model.id for model in models] == NAMES
    for model in [*models, claude.models.retrieve("org/echo")]:
        assert (model.type, model.display_name, model.lifecycle) == ("model", model.id, "active")
        assert model.created_at.year >= 2026
    with pytest.raises(anthropic.NotFoundError, match="no-such") as refused:
        claude.models.retrieve("no-such")
    assert refused.value.request_id
    assert refused.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]


def test_anthropic_s_client_pages_through_models(claude: anthropic.Anthropic) -> None:
    first = claude.models.list(limit=1)
    assert ([model.id for model in first.data], first.has_more) == (NAMES[:1], True)
    assert [model.id for model in first] == NAMES, "the client goes on by itself"
    before = claude.models.list(limit=5, before_id="org/echo")
    assert ([model.id for model in before.data], before.has_more) == (NAMES[:1], False)
    for query, field in (({"limit": 0}, "limit"), ({"after_id": "nobody"}, "after_id"), ({"limit": "x"}, "limit")):
        with pytest.raises(anthropic.BadRequestError, match=field):
            claude.models.list(**query)  # type: ignore[arg-type]


def test_a_slip_of_a_path_is_told_in_the_client_s_own_form(http: httpx.Client) -> None:
    body = {"model": "echo", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    answer = http.post("/v1/v1/messages", json=body, headers={"anthropic-version": "2023-06-01"})
    assert answer.status_code == 404
    assert answer.json()["type"] == "error"
    assert "Did you mean /v1/messages?" in answer.json()["error"]["message"]
    assert answer.headers["request-id"] == answer.json()["request_id"]
    assert "type" not in http.post("/v1/v1/messages", json=body).json()
