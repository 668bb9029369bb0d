"""Fields that every engine accepts and that leave the answer as it is."""

from __future__ import annotations

from collections.abc import Mapping

_CACHE = "what is cached, and for how long, is the engine's own business; the answer is the same"

NO_EFFECT: Mapping[str, str] = {
    "metadata": "a note for OpenAI's dashboard; Responses give it back",
    "prediction": "it may only make the answer faster",
    "prompt_cache_key": _CACHE,
    "prompt_cache_options": _CACHE,
    "prompt_cache_retention": _CACHE,
    "safety_identifier": "it names a user to OpenAI's abuse detection",
    "service_tier": "OpenAI's price lists; there is one tier here",
    "store": "it keeps the exchange for OpenAI's dashboard; Responses are kept as it says",
    "user": "it names a user to OpenAI's abuse detection",
}
"""Fields of a chat, a completion or an embedding -> why they may be accepted and not acted on.

They are for OpenAI's accounts and caches, or only for speed. An engine's server does not get those that it does not
act on. docs/fields.md prints the reasons.
"""
