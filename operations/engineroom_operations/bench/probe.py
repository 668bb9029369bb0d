"""What is found out of a server before it is measured: its model, the fields it takes, and how it counts tokens."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..load.answers import refusal
from ..load.failure import RequestFailure
from ..load.http_client import HTTPClient
from ..load.measurement import Measurement
from ..load.sender import Ask, Sender, Surface
from .lengths import Lengths
from .scenarios import WORDS_AS_TOKENS, Prompts, Scenario, Words

_FEW_WORDS = 8
_MORE_WORDS = 136


class Probe(NamedTuple):
    """What was learnt of a server.

    fields: that every request is to have beside the scenario's own.
    notes: what a reader of the figures should know.
    """

    words: Words
    output_field: str
    fields: Mapping[str, Any]
    notes: list[str]


async def served_model(client: HTTPClient) -> str:
    """The first model that a server lists.

    Raises:
        RequestFailure: it does not answer, or lists none.
    """
    response = await client.fetch("GET", "/models", timeout_s=30)
    if not 200 <= response.status < 300:
        raise refusal(response.status, response.headers, response.body)
    try:
        models = json.loads(response.body)["data"]
        return str(models[0]["id"])
    except (ValueError, KeyError, IndexError, TypeError):
        raise RequestFailure("not the API", "it lists no models; name one with --model", response.status) from None


async def probe(sender: Sender, surface: Surface, fields: Mapping[str, Any], exact: bool | None) -> Probe:
    """Ask twice, with a short and a longer prompt, for one token each.

    A field that the server refuses is left out, which its notes say.

    Args:
        fields: the user's own.
        exact: whether answers go on to their stated length whatever the model says (`ignore_eos`); None: where the
            server takes that.

    Raises:
        RequestFailure: the server answers no such request.
    """
    notes: list[str] = []
    own: dict[str, Any] = {}
    if surface != "embeddings" and exact is not False:
        own["ignore_eos"] = True
    output_field = "max_tokens"
    doubtful = ["ignore_eos"] if own and exact is None else []
    doubtful += [] if surface == "embeddings" else ["stream_options", "max_tokens"]
    while True:
        try:
            few = await _prompt_tokens(sender, surface, _FEW_WORDS, {**own, **fields}, output_field)
            break
        except RequestFailure as failure:
            if failure.kind != "bad request" or not doubtful:
                raise
            named = [field for field in doubtful if field in str(failure)]
            refused = named[0] if named else doubtful[0]
            doubtful.remove(refused)
            if refused == "ignore_eos":
                del own["ignore_eos"]
                notes.append("The server does not take `ignore_eos`: answers end where the model ends them.")
            elif refused == "stream_options":
                sender.asks_for_usage = False
                notes.append("The server does not take `stream_options`: tokens are counted by events.")
            else:
                output_field = "max_completion_tokens"
    more = await _prompt_tokens(sender, surface, _MORE_WORDS, {**own, **fields}, output_field)
    per_word = (more - few) / (_MORE_WORDS - _FEW_WORDS)
    if per_word <= 0:
        notes.append("The server does not count the tokens of prompts: their lengths are in words.")
        return Probe(WORDS_AS_TOKENS, output_field, own, notes)
    return Probe(Words(max(0.0, few - _FEW_WORDS * per_word), per_word), output_field, own, notes)


async def _prompt_tokens(
    sender: Sender, surface: Surface, words: int, fields: Mapping[str, Any], output_field: str
) -> int:
    """What the server says the tokens of a prompt of so many words are; 0 where it does not."""
    scenario = Scenario("probe", "", Lengths("fixed", words), Lengths("fixed", 1))
    prompts = Prompts(scenario, surface, seed=words, fields=fields, output_field=output_field)
    measurement = Measurement(time.perf_counter())
    ask: Ask = prompts.ask(words)
    await sender.send(ask, measurement)
    failure = measurement.failure
    # One token may be one that has no text, or the end.
    if failure is not None and failure.kind != "no tokens":
        raise failure
    return measurement.prompt_tokens or 0
