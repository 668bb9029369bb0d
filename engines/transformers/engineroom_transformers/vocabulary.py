"""A text model's vocabulary: the bytes of its tokens, the prompts of chats, the grammars over it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engineroom.errors import APIError
from engineroom.openai.serving import chat_template
from engineroom.openai.serving.tool_calls import MARKERS

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

    from .loading import LoadedModel

_SPACES = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""As Python writes JSON. Were any white space allowed, a hot or small model would write nothing else."""

_GRAMMARS = 64
"""How many are kept compiled; a large one takes half a second."""


class Vocabulary:
    """size: of the model's embedding table. eos: the tokens that end an answer."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._tokenizer = tokenizer = loaded.tokenizer
        self.size: int = loaded.model.config.get_text_config().vocab_size
        eos = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)
        eos = tokenizer.eos_token_id if eos is None else eos
        if eos is None:
            self.eos: tuple[int, ...] = ()
        else:
            self.eos = (eos,) if isinstance(eos, int) else tuple(eos)
        added = tokenizer.added_tokens_decoder.items()
        self._silent = frozenset(id for id, token in added if token.special and token.content not in MARKERS)
        self._compiled = functools.lru_cache(_GRAMMARS)(self._compile)

    @functools.cached_property
    def _bytes(self) -> LLTokenizer:
        from llguidance.hf import from_tokenizer

        return from_tokenizer(self._tokenizer, eos_token=list(self.eos) or None)

    def tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text)["input_ids"]
        return ids

    def text(self, token: int) -> bytes:
        """What a token adds to an answer: nothing for a special one, unless a tool call begins with it."""
        return b"" if token in self._silent else self.shown(token)

    def shown(self, token: int) -> bytes:
        return bytes(self._bytes.decode_bytes([token]))

    def grammar(self, schema: Mapping[str, Any]) -> str:
        """A JSON schema as a grammar. Raises APIError where it cannot be enforced."""
        from llguidance import LLMatcher

        grammar: str = LLMatcher.grammar_from_json_schema(json.dumps(schema or {"type": "object"}), _SPACES)
        if why := problem(self.matcher(grammar)):
            raise APIError(f"This JSON schema cannot be enforced: {why}", code="unsupported_schema")
        return grammar

    def matcher(self, grammar: str) -> LLMatcher:
        """One answer's way through a grammar, from its beginning."""
        return self._compiled(grammar).deep_copy()

    def _compile(self, grammar: str) -> LLMatcher:
        from llguidance import LLMatcher

        matcher = LLMatcher(self._bytes, grammar, log_level=0)
        matcher.compute_bitmask()  # Some problems are found only now.
        return matcher

    def chat(self, messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[int]:
        """The prompt of a chat. Raises APIError where the model's template does not take it."""
        tools = params.get("tools") or None
        adapted = chat_template.fitted(messages, str(self._tokenizer.chat_template or ""), tools)
        options = chat_template.variables(params)
        try:
            text = self._tokenizer.apply_chat_template(adapted, tools=tools, tokenize=False, **options)
        except Exception as error:  # Whatever the template, or Jinja for it, raises.
            raise APIError(f"The chat template refuses these messages: {error}", param="messages") from error
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def problem(matcher: LLMatcher) -> str:
    """Why a grammar cannot be followed, or no further; empty where it can."""
    return str(matcher.get_error()).partition("\n<state>")[0]
