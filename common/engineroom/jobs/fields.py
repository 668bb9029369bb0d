"""The fields of jobs as clients of RunPod's workers send them, and what each means here.

RunPod has two LLM workers. Its first had fields of its own before 0.3, took its engine's sampling parameters up to
2.23, and since 2.24 passes requests on to its engine's server, as the other does. docs/runpod.md says whose is which.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "text": "prompt",
        "input_ids": "prompt",  # the ids of tokens
        "max_new_tokens": "max_tokens",
        "min_new_tokens": "min_tokens",
    }
)
"""Fields as the other worker has them -> the name here."""

WITHOUT_EFFECT = frozenset({"use_openai_format"})
"""What RunPod's first LLM worker read up to 2.23, and never acted on."""

_SCHEMA = """write "response_format": {"type": "json_schema", "json_schema": {"name": "…", "schema": {…}}}"""

ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "ebnf": "write 'response_format', or the engine's own field for a grammar",
        "enable_thinking": 'write "chat_template_kwargs": {"enable_thinking": false}',
        "guided_choice": f'{_SCHEMA} with an "enum" as the schema',
        "guided_grammar": "write 'response_format', or the engine's own field for a grammar",
        "guided_json": _SCHEMA,
        "guided_regex": f'{_SCHEMA} with a "pattern" in the schema',
        "image_data": "put images into 'messages', as parts of type 'image_url'",
        "images": "put images into 'messages', as parts of type 'image_url'",
        "json_schema": _SCHEMA,
        "logprob_start_len": "write 'logprobs'",
        "regex": f'{_SCHEMA} with a "pattern" in the schema',
        "return_logprob": "write 'logprobs'",
        "stop_sequences": "write 'stop'",
        "system": "put it into 'messages', with the role 'system'",
        "system_prompt": "put it into 'messages', with the role 'system'",
        "top_logprobs_num": "write 'top_logprobs'",
    }
)
"""Fields of other workers that have no counterpart of the same form -> what to do instead."""


class Parameter(NamedTuple):
    """A sampling parameter of RunPod's documentation that not every engine has.

    kind: its type.
    neutral: values by which it asks for what is the case anyway; such a one is left out for an engine without it.
    instead: what to do where it asks for something that the engine has not.
    """

    kind: Any
    neutral: tuple[Any, ...]
    instead: str


_TEXT_INSTEAD = "write the text of these tokens into 'stop' instead"
_BEAMS = "leave it out, and sample: 'temperature': 0 takes the likeliest token each time"

PARAMETERS: Mapping[str, Parameter] = MappingProxyType(
    {
        "bad_words": Parameter(list[str], ([],), "leave it out, or lower the tokens' chances with 'logit_bias'"),
        "best_of": Parameter(int, (), "write 'n' instead, and choose among the choices yourself"),
        "detokenize": Parameter(bool, (True,), "leave it out: the output is text"),
        "do_sample": Parameter(bool, (True,), "leave it out: 'temperature': 0 takes the likeliest token each time"),
        "early_stopping": Parameter(bool | str, (False,), "leave it out: it is about beam search"),
        "ignore_eos": Parameter(bool, (False,), "leave it out, and set 'max_tokens'"),
        "include_stop_str_in_output": Parameter(bool, (False,), "leave it out, and add the string to the output"),
        "length_penalty": Parameter(float, (1, 0), "leave it out: it is about beam search"),
        "min_p": Parameter(float, (0,), "leave it out, or write 'top_p' instead"),
        "min_tokens": Parameter(int, (0,), "leave it out: the model decides where its answer ends"),
        "prompt_logprobs": Parameter(int, (0, False), "leave it out; 'logprobs' are of the tokens in the output"),
        "repetition_penalty": Parameter(float, (1,), "write 'frequency_penalty' instead"),
        "skip_special_tokens": Parameter(bool, (True,), "leave it out: special tokens are never in the output"),
        "spaces_between_special_tokens": Parameter(bool, (True, False), "leave it out"),
        "stop_token_ids": Parameter(list[int], ([],), _TEXT_INSTEAD),
        "top_k": Parameter(int, (-1, 0), "leave it out, or write 'top_p' instead"),
        "truncate_prompt_tokens": Parameter(int, (-1,), "leave it out, and send a prompt that fits"),
        "use_beam_search": Parameter(bool, (False,), _BEAMS),
    }
)
"""The sampling parameters of RunPod's pages beyond OpenAI's."""
