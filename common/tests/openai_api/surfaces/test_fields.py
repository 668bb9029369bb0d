"""The fields that are known, held against the official packages: what is new there is to be served, or refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_create_params
from openai.types.responses import response_create_params, response_includable

from engineroom.openai.surfaces.messages.request import NOT_SERVED as MESSAGES_REFUSES
from engineroom.openai.surfaces.messages.schema import MessagesRequest
from engineroom.openai.surfaces.responses.schema import ResponsesRequest


def fields_of(typed_dict: Any) -> set[str]:
    return set(typed_dict.__required_keys__ | typed_dict.__optional_keys__)


def test_the_fields_of_responses_are_those_of_the_openai_package() -> None:
    params = response_create_params.ResponseCreateParamsStreaming
    assert set(ResponsesRequest.__struct_fields__) == fields_of(params) | {"input", "model"}


def test_what_may_be_included_is_what_the_openai_package_knows() -> None:
    from typing import get_args

    for name in get_args(response_includable.ResponseIncludable):
        msgspec.convert({"model": "m", "input": "x", "include": [name]}, ResponsesRequest)


@pytest.mark.parametrize("params", [message_create_params, beta_create_params])
def test_the_fields_of_messages_are_those_of_the_anthropic_package(params: Any) -> None:
    known = set(MessagesRequest.__struct_fields__) | MESSAGES_REFUSES.keys() | {"betas"}
    unknown = fields_of(params.MessageCreateParamsStreaming) - known
    assert not unknown, "serve these fields, or refuse them"
