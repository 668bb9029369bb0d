"""Requests at a time and the queue, from outside."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_door import Door, serving
from server_process import until

HELLO = [{"role": "user", "content": "Hello"}]


def ask(door: Door, key: str = "", timeout: float = 60, **fields: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"messages": HELLO, **fields}
    return httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=headers, timeout=timeout)


def slow(seconds: float) -> dict[str, Any]:
    return {"echo_ttft_ms": 1000 * seconds}


def test_more_than_fit_wait_and_more_than_may_wait_are_refused() -> None:
    with serving({"MAX_CONCURRENT_REQUESTS": "2", "MAX_QUEUED_REQUESTS": "2"}) as door, ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, door, **slow(4)) for _ in range(6)]
        statuses = sorted(answer.result().status_code for answer in answers)
        assert statuses == [200, 200, 200, 200, 503, 503]
        refused = next(answer.result() for answer in answers if answer.result().status_code == 503)
        assert refused.json()["error"]["code"] == "server_busy"
        until(lambda: door.metric("engineroom_queue_seconds_count") == 2)  # They are noted once they are over.
        assert int(refused.headers["retry-after"]) >= 1
        assert ask(door).status_code == 200


def test_waiting_has_a_deadline() -> None:
    settings = {"MAX_CONCURRENT_REQUESTS": "1", "QUEUE_TIMEOUT": "0.3"}
    with serving(settings) as door, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, door, **slow(3))
        until(lambda: door.metric("engineroom_echo_running") == 1)
        late = ask(door)
        assert late.status_code == 503
        assert "0.3 s" in late.json()["error"]["message"]
        assert first.result().status_code == 200


def test_one_that_leaves_the_queue_gives_its_place_up() -> None:
    settings = {"MAX_CONCURRENT_REQUESTS": "1", "MAX_QUEUED_REQUESTS": "1"}
    with serving(settings) as door, ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, door, **slow(4))
        until(lambda: door.metric("engineroom_echo_running") == 1)
        with pytest.raises(httpx.ReadTimeout):
            ask(door, timeout=0.5)
        # Its place is free again as soon as the door has seen it go.
        second: list[httpx.Response] = []
        until(lambda: second.append(ask(door)) or second[-1].status_code == 200)
        assert first.result().status_code == 200


def test_important_requests_come_first_and_displace_others(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"low": "low", "high": {"key": "high", "priority": 5}}))
    settings = {"API_KEYS_FILE": str(file), "MAX_CONCURRENT_REQUESTS": "1", "MAX_QUEUED_REQUESTS": "2"}
    with serving(settings) as door, ThreadPoolExecutor(8) as pool:
        order: list[str] = []

        def ask_as(key: str) -> int:
            status = ask(door, key, **slow(1)).status_code
            order.append(key)
            return status

        first = pool.submit(ask, door, "low", **slow(4))
        until(lambda: door_running(door, "low") == 1)
        low = [pool.submit(ask_as, "low") for _ in range(2)]
        time.sleep(0.5)
        high = pool.submit(ask_as, "high")
        assert high.result() == 200
        assert sorted(waiter.result() for waiter in low) == [200, 503]
        assert order == ["low", "high", "low"]
        assert first.result().status_code == 200


def door_running(door: Door, key: str) -> float:
    text = httpx.get(f"{door.url}/metrics", headers={"authorization": f"Bearer {key}"}).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("engineroom_echo_running"))


def test_a_key_may_have_so_many_at_once() -> None:
    settings = {"API_KEYS": "a:a,b:b", "METRICS_OPEN": "1", "MAX_CONCURRENT_REQUESTS_PER_KEY": "1"}
    with serving(settings) as door, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, door, "a", **slow(3))
        until(lambda: door.metric("engineroom_echo_running") == 1)
        second = ask(door, "a")
        assert second.status_code == 429
        assert second.json()["error"]["code"] == "concurrency_limit_exceeded"
        assert int(second.headers["retry-after"]) >= 1
        assert ask(door, "b").status_code == 200
        assert first.result().status_code == 200
        assert ask(door, "a").status_code == 200


def test_a_thousand_at_once_and_none_is_lost() -> None:
    with serving({"MAX_CONCURRENT_REQUESTS": "50", "MAX_QUEUED_REQUESTS": "1000"}) as door:
        statuses: list[int] = []
        limits = httpx.Limits(max_connections=200)

        def some() -> None:
            with httpx.Client(limits=limits, timeout=60) as client:
                for _ in range(50):
                    url = f"{door.url}/v1/chat/completions"
                    statuses.append(client.post(url, json={"messages": HELLO}).status_code)

        threads = [threading.Thread(target=some) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
        assert statuses == [200] * 1000
