"""An engine that fails: the circuit breaker, from outside."""

from __future__ import annotations

import httpx
from http_door import ask, serving
from server_process import until


def test_a_failing_engine_is_given_a_rest() -> None:
    with serving({"BREAKER_FAILURES": "3", "BREAKER_REST": "4"}) as door:
        assert [ask(door, echo_fault="error").status_code for _ in range(2)] == [500, 500]
        assert ask(door).status_code == 200  # One that succeeds, and they are no longer in a row.
        assert [ask(door, echo_fault="error").status_code for _ in range(3)] == [500] * 3
        refused = ask(door)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "engine_failing"
        assert int(refused.headers["retry-after"]) >= 1
        assert httpx.get(f"{door.url}/health").json()["breaker"] == "open"
        until(lambda: httpx.get(f"{door.url}/health").json()["breaker"] == "half-open")
        assert ask(door).status_code == 200
        assert httpx.get(f"{door.url}/health").json()["breaker"] == "closed"
        assert ask(door, temperature=9).status_code == 400  # A client's mistake is not the engine's.
        assert httpx.get(f"{door.url}/health").json()["breaker"] == "closed"


def test_clients_mistakes_do_not_hide_that_the_engine_fails() -> None:
    with serving({"BREAKER_FAILURES": "3", "BREAKER_REST": "60"}) as door:
        for _ in range(3):
            assert ask(door, model="nope").status_code == 404
            assert ask(door, echo_fault="error").status_code == 500
        refused = ask(door)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_failing")
