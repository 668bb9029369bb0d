"""Responses that are kept, and those that had to go."""

from __future__ import annotations

import pytest

from engineroom.errors import APIError
from engineroom.openai.surfaces.responses.store import ResponseStore, StoredResponse


def stored(number: int, previous: int | None = None, size: int = 100) -> StoredResponse:
    response = {
        "id": f"resp_{number}",
        "previous_response_id": None if previous is None else f"resp_{previous}",
        "output": [{"id": f"msg_{number}", "content": "x" * size}],
    }
    return StoredResponse(response, [{"id": f"in_{number}"}])


def test_the_oldest_go_first_and_what_is_used_stays() -> None:
    store = ResponseStore(largest=1000)
    for number in range(3):
        store.put(stored(number))
    assert store.get("resp_0") is not None
    for number in range(3, 6):
        store.put(stored(number))
    assert store.get("resp_0") is not None
    assert store.get("resp_1") is None
    with pytest.raises(APIError, match="msg_1"):
        store.item("msg_1", "input.0.id")
    assert store.item("msg_0", "input.0.id")["id"] == "msg_0"


def test_one_that_is_too_large_is_not_kept() -> None:
    store = ResponseStore(largest=1000)
    store.put(stored(0))
    store.put(stored(1, size=5000))
    assert store.get("resp_1") is None
    assert store.get("resp_0") is not None, "nothing had to go for it"


def test_a_conversation_needs_all_its_turns() -> None:
    store = ResponseStore()
    store.put(stored(0))
    store.put(stored(1, previous=0))
    assert [item["id"] for item in store.conversation("resp_1")] == ["in_0", "msg_0", "in_1", "msg_1"]
    assert store.drop("resp_0")
    assert not store.drop("resp_0")
    with pytest.raises(APIError, match="resp_0"):
        store.conversation("resp_1")
