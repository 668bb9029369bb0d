"""Responses that are kept, and those that had to go."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engineroom.errors import APIError
from engineroom.openai.surfaces.responses import store as store_module
from engineroom.openai.surfaces.responses.store import MemoryStorage, ResponseStore, StoredResponse


def stored(number: int, previous: int | None = None, size: int = 100) -> StoredResponse:
    response = {
        "id": f"resp_{number}",
        "previous_response_id": None if previous is None else f"resp_{previous}",
        "output": [{"id": f"msg_{number}", "content": "x" * size}],
    }
    return StoredResponse(response, [{"id": f"in_{number}"}])


async def put(store: ResponseStore, kept: StoredResponse) -> None:
    encoded = store.encode(kept)
    assert encoded is not None
    await store.put(kept, encoded)


async def test_the_oldest_go_first_and_what_is_used_stays() -> None:
    store = ResponseStore(MemoryStorage(largest=1500))
    for number in range(3):
        await put(store, stored(number))
    for number in range(3, 6):
        assert (await store.item("msg_0", "input.0.id"))["id"] == "msg_0"
        await put(store, stored(number))
    assert await store.get("resp_0") is not None
    assert await store.get("resp_1") is None
    with pytest.raises(APIError, match="msg_1"):
        await store.item("msg_1", "input.0.id")


async def test_memory_has_a_limit_whatever_is_kept() -> None:
    storage = MemoryStorage(largest=10_000)
    for number in range(1000):
        await storage.put({f"key{number % 700}": b"x" * (number % 300)})
    kept = [await storage.get(f"key{number}") for number in range(700)]
    assert 5_000 < sum(len(entry) for entry in kept if entry is not None) <= 10_000


def test_one_that_is_too_large_is_not_kept() -> None:
    assert ResponseStore.encode(stored(1, size=store_module.LARGEST_RESPONSE)) is None


async def test_a_conversation_needs_all_its_turns() -> None:
    store = ResponseStore(MemoryStorage())
    await put(store, stored(0))
    await put(store, stored(1, previous=0))
    assert [item["id"] for item in await store.conversation("resp_1")] == ["in_0", "msg_0", "in_1", "msg_1"]
    await store.drop("resp_0")
    await store.drop("resp_0")
    with pytest.raises(APIError, match="resp_0"):
        await store.conversation("resp_1")


async def test_a_conversation_may_be_only_so_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is more room than in memory, one request could otherwise take all of the worker's."""
    store = ResponseStore(MemoryStorage())
    for number in range(5):
        await put(store, stored(number, previous=number - 1 if number else None, size=1000))
    monkeypatch.setattr(store_module, "LARGEST", 3000)
    with pytest.raises(APIError) as refused:
        await store.conversation("resp_4")
    assert (refused.value.status, refused.value.param) == (400, "previous_response_id")


async def test_each_client_has_its_own() -> None:
    storage = MemoryStorage()
    owner, others = ResponseStore(storage, "a"), [ResponseStore(storage, name) for name in ("", "b", "a:", 'a","')]
    await put(owner, stored(0))
    for other in others:
        assert await other.get("resp_0") is None
        with pytest.raises(APIError):
            await other.conversation("resp_0")
        with pytest.raises(APIError):
            await other.item("msg_0", "input.0.id")
        await other.drop("resp_0")
    assert await owner.get("resp_0") is not None


@pytest.mark.parametrize(
    "left",
    [
        b"",
        b"\xff",
        b"null",
        b"[" * 5000,
        b'{"input": [], "response": {}}',
        b'{"input": [], "response": {"id": "resp_0", "output": null}}',
        b'{"input": [], "response": {"id": "resp_0", "output": [1]}}',
        b'{"input": [], "response": {"id": "resp_1", "output": []}}',
        b'{"input": [], "response": {"id": "resp_0", "output": [], "previous_response_id": 5}}',
    ],
)
async def test_what_others_left_in_the_storage_is_no_response(left: bytes) -> None:
    entries: dict[str, bytes] = {}

    class Shared(MemoryStorage):
        async def get(self, key: str) -> bytes | None:
            return entries.get(key)

        async def put(self, more: Any) -> None:
            entries.update(dict.fromkeys(more, left))

    store = ResponseStore(Shared())
    kept = stored(0)
    await store.put(kept, msgspec.json.encode(kept))
    assert await store.get("resp_0") is None
    with pytest.raises(APIError) as refused:
        await store.conversation("resp_0")
    assert refused.value.status == 400
    with pytest.raises(APIError) as missing:
        await store.item("msg_0", "input.0.id")
    assert missing.value.status == 404
