"""What the echo engine says to a request: the echo, an instance of a schema, or calls of tools."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engineroom.in_process import Token, TokenRequest

from . import vocabulary
from .instance import minimal_instance
from .mentions import Mentions
from .settings import EchoOptions


def answer(request: TokenRequest, options: EchoOptions) -> Iterator[Token]:
    """The tokens of one choice, the last of which says why they end.

    Raises:
        APIError: for a schema whose instance is beyond it.
    """
    echoed, from_user = vocabulary.last_message(request.prompt)
    if request.tools or request.schema is not None:
        mentions = Mentions(vocabulary.decode(echoed) if from_user else "")
        made = _calls(request.tools, mentions) or _instance(request.schema, mentions)
        if made:
            return _limited(_text_tokens(vocabulary.encode(made), request.logprobs), request.max_tokens)
    if request.choice:
        echoed = vocabulary.encode(f"({request.choice}) ") + echoed
    tokens = list(_text_tokens(echoed, request.logprobs))
    if options.ignore_eos and tokens:
        return _limited(itertools.cycle(tokens), request.max_tokens)
    repeated = itertools.repeat(tokens, options.echo_repeat)
    return _limited(itertools.chain.from_iterable(repeated), request.max_tokens)


def _text_tokens(ids: Sequence[int], logprobs: int | None) -> Iterator[Token]:
    for token in ids:
        data = vocabulary.as_bytes(token)
        if logprobs is None:
            yield Token(data, token)
        else:
            # Made up: a half for the token itself, a quarter for the next in the vocabulary, and so on.
            others = [(token + rank) % vocabulary.SIZE for rank in range(logprobs)]
            top = [(vocabulary.as_bytes(other), math.log(0.5) * (rank + 1)) for rank, other in enumerate(others)]
            yield Token(data, token, math.log(0.5), top)


def _limited(tokens: Iterator[Token], limit: int) -> Iterator[Token]:
    """At most `limit` tokens, and one more that says why they end."""
    for number, token in enumerate(tokens):
        if number == limit:
            yield Token(finish_reason="length")
            return
        yield token
    yield Token(finish_reason="stop")


def _calls(tools: Sequence[Mapping[str, Any]], mentions: Mentions) -> str:
    """The JSON of a call of each tool that the message names."""
    functions = {tool["function"]["name"]: tool["function"] for tool in tools}
    return "\n".join(
        _call(name, functions[name].get("parameters"), mentions) for name in mentions.tools(list(functions))
    )


def _call(name: str, parameters: Mapping[str, Any] | None, mentions: Mentions) -> str:
    arguments = minimal_instance(parameters or {"type": "object"}, mentions)
    return f'{{"name": {json.dumps(name)}, "arguments": {json.dumps(arguments, ensure_ascii=False)}}}'


def _instance(schema: Mapping[str, Any] | None, mentions: Mentions) -> str:
    """The JSON text of the smallest instance of a schema, with what the message mentions; nothing without a schema.

    Any object will do for an empty schema: it has the keys that the message quotes.
    """
    if schema is None:
        return ""
    instance = minimal_instance(schema, mentions) if schema else dict.fromkeys(mentions.quoted, mentions.text)
    return json.dumps(instance, ensure_ascii=False)
