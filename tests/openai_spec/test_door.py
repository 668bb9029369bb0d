"""The specification over the HTTP door with its layers on: they add headers and refusals, and change no answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from http_door import serving
from http_everything import EVERYTHING, KEY
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis.checks import negative_data_rejection, not_a_server_error

from .conftest import MODELS
from .held import CONFORMANCE, schema

DOORS = {
    "everything": EVERYTHING,
    "everything but a cache": {**EVERYTHING, "CACHE_TTL": "0"},
    "limits that are met": {**EVERYTHING, "REQUESTS_PER_MINUTE": "20", "TOKENS_PER_MINUTE": "500"},
}
AUTHORISED = st.sampled_from([KEY, KEY, KEY, {"x-api-key": "sk-alice"}, {"authorization": "Bearer no"}, {}])
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(["x-request-id", "cache-control", "origin", "accept", "accept-language", "traceparent"]),
    VALUES | st.sampled_from(["no-cache", "no-store", "max-age=0", "https://app.example"]),
    max_size=3,
)


@pytest.fixture(scope="module", params=DOORS, ids=str)
def door(request: pytest.FixtureRequest) -> Iterator[str]:
    """The API's root."""
    names = {"SERVED_MODEL_NAME": ",".join(MODELS), "ECHO_MAX_MODEL_LEN": "4096"}
    with serving({**DOORS[request.param], **names}) as door:
        yield f"{door.url}/v1"
        assert "Traceback" not in door.log


def the_doors_own(context: Any, response: schemathesis.Response, case: schemathesis.Case[Any]) -> None:
    """What its layers put into every answer."""
    headers = response.headers
    assert headers["x-request-id"]
    assert headers["x-content-type-options"] == ["nosniff"]
    if response.status_code == 401:
        assert headers["www-authenticate"]
    elif response.status_code in (200, 429) and case.method == "POST":
        assert headers["x-ratelimit-limit-requests"]
    if response.status_code == 429:
        error = json.loads(response.content)["error"]
        assert error["code"] == "rate_limit_exceeded"
        assert "retry-after" in headers or "too large" in error["message"]


@schema.given(key=AUTHORISED, headers=HEADERS)
@schema.parametrize()
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
    derandomize=True,
)
@pytest.mark.timeout(300)
def test_the_specification_holds_behind_the_layers(
    case: schemathesis.Case[Any], key: dict[str, str], headers: dict[str, str], door: str
) -> None:
    response = case.call(base_url=door, timeout=30, headers={**headers, **key})
    checks = [*CONFORMANCE, not_a_server_error, negative_data_rejection, the_doors_own]
    case.validate_response(response, checks=checks)
