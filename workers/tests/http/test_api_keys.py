"""API keys, from outside."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import openai
import pytest
from http_door import serving
from server_process import until

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = {"messages": HELLO}


def chat(url: str, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{url}/v1/chat/completions", json=CHAT, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_keys_are_asked_for_and_health_is_not() -> None:
    with serving({"API_KEYS": "alice:sk-alice, sk-nobody"}) as door:
        assert httpx.get(f"{door.url}/ping").status_code == 200
        assert httpx.get(f"{door.url}/health").status_code == 200
        for path in ("/metrics", "/v1/models"):
            assert httpx.get(f"{door.url}{path}").status_code == 401
        absent = chat(door.url)
        assert absent.status_code == 401
        assert absent.headers["www-authenticate"] == "Bearer"
        message = httpx.post(f"{door.url}/v1/messages", json={**CHAT, "max_tokens": 5})
        assert (message.status_code, message.json()["error"]["type"]) == (401, "authentication_error")
        assert message.headers["request-id"] == message.json()["request_id"], "Anthropic's clients quote it"
        for wrong in ("sk-alicE", "sk-alice2", "sk", "a b"):
            assert chat(door.url, authorization=f"Bearer {wrong}").status_code == 401
        with openai.OpenAI(base_url=f"{door.url}/v1", api_key="wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError) as refused:
                client.models.list()
            assert refused.value.code == "invalid_api_key"
            assert client.with_options(api_key="sk-alice").models.list().data
        assert chat(door.url, authorization="bearer  sk-nobody").status_code == 200
        assert chat(door.url, x_api_key="sk-alice").status_code == 200
        assert httpx.get(f"{door.url}/metrics", headers={"authorization": "Bearer sk-alice"}).status_code == 200
        assert "sk-" not in door.log


def test_metrics_may_be_open() -> None:
    with serving({"API_KEYS": "sk-alice", "METRICS_OPEN": "true"}) as door:
        assert httpx.get(f"{door.url}/metrics").status_code == 200
        assert chat(door.url).status_code == 401


def test_the_keys_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("alice: sk-alice\n")
    with serving({"API_KEYS_FILE": str(file)}) as door:
        assert chat(door.url, authorization="Bearer sk-alice").status_code == 200
        other = tmp_path / "other"
        other.write_text(json.dumps({"bob": {"key": "sk-bob", "priority": 3}}))
        other.rename(file)
        until(lambda: chat(door.url, authorization="Bearer sk-bob").status_code == 200)
        assert chat(door.url, authorization="Bearer sk-alice").status_code == 401
        file.write_text("bob: [sk-bob")
        until(lambda: chat(door.url, authorization="Bearer sk-bob").status_code == 200 and "not valid YAML" in door.log)
        assert "sk-bob" not in door.log


def test_white_space_around_a_key_is_none_of_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("alice: |\n  sk-alice\n")
    with serving({"API_KEYS_FILE": str(file), "API_KEYS": "bob: sk-bob"}) as door:
        for key in ("sk-alice", "sk-bob"):
            assert chat(door.url, authorization=f"Bearer {key}").status_code == 200


def test_whatever_becomes_of_the_keys_file_clients_are_served(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("alice: sk-alice\n")
    with serving({"API_KEYS_FILE": str(file)}) as door:
        for complaint, text in enumerate(("alice: 2026-13-45", "a: " + "[" * 5000, "\0", "a: &x [*x]"), 1):
            (tmp_path / "other").write_text(text)  # Not in its place: it would be seen empty, too.
            (tmp_path / "other").rename(file)

            def complained(times: int = complaint) -> bool:
                assert chat(door.url, authorization="Bearer sk-alice").status_code == 200
                return door.log.count("the keys stay in force as they were") == times

            until(complained)
        assert "Traceback" not in door.log


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alice: {key: sk-a, speed: 3}", "alice.speed"),
        ("alice: {concurrency: 3}", "alice has no key"),
        ("[sk-a]", "must hold a mapping"),
        ("{a: sk-same, b: sk-same}", "same key"),
        ("alice: sk-a\nalice: sk-b", "alice is there twice"),
        ("alice: 2026-13-45", "not valid YAML"),
        ("? [alice]\n: sk-a", "must hold a mapping"),
        ("", "is empty"),
        ("# none yet", "must hold a mapping"),
        ("{}", "there is no key in it"),
    ],
)
def test_a_wrong_keys_file_is_named_and_no_key_is_quoted(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    with serving({"API_KEYS_FILE": str(file)}, ready=False) as door:
        assert door.ended() == 2
        assert "API_KEYS_FILE" in door.log
        assert message in door.log
        assert "sk-" not in door.log
