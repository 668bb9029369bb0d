"""The reason in an error's body, in the forms that servers and what stands before them give it."""

from __future__ import annotations

import pytest

from engineroom_operations.error_text import error_text, json_or_text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": {"message": "no such model", "type": "x"}}', "no such model"),
        (b'{"error": {"type": "server_error"}}', '{"type": "server_error"}'),
        (b'{"error": "endpoint is paused"}', "endpoint is paused"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', '[{"loc": ["body"], "msg": "field required"}]'),
        (b'{"message": "slow down"}', "slow down"),
        (b'{"title": "Bad request", "status": 400}', "Bad request"),
        (b'{"error": null, "message": "why"}', "why"),
        (b"{}", ""),
        (b"null", ""),
        (b"", ""),
        (b'["a", 1]', '["a", 1]'),
        (b"<html><head><title>502</title></head>\n<body>Bad  gateway</body></html>", "502 Bad gateway"),
        (b"\x1b[31mred\x1b]0;title\x07", "[31mred]0;title"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 1000, "x" * 299 + "…"),
        (b"[" * 100_000, "[" * 299 + "…"),
    ],
)
def test_the_reason(body: bytes, reason: str) -> None:
    assert error_text(json_or_text(body)) == reason
