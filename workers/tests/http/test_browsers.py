"""CORS and browsers' headers, from outside."""

from __future__ import annotations

import httpx
from http_door import serving

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = {"messages": HELLO}


def chat(url: str, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{url}/v1/chat/completions", json=CHAT, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_cors_for_the_origins_named() -> None:
    with serving({"CORS_ORIGINS": "https://app.example", "API_KEYS": "sk-a"}) as door:
        asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
        asked["access-control-request-headers"] = "authorization,content-type"
        preflight = httpx.options(f"{door.url}/v1/chat/completions", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        answer = chat(door.url, origin="https://app.example", authorization="Bearer sk-a")
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        refused = chat(door.url, origin="https://app.example")
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-origin" not in chat(door.url, origin="https://evil.example").headers


def test_security_headers_only_where_asked_for() -> None:
    with serving({"SECURITY_HEADERS": "1"}) as door:
        headers = chat(door.url).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "strict-transport-security" not in headers
    with serving() as door:
        assert "x-content-type-options" not in chat(door.url).headers
