"""A text model's vocabulary: the bytes of its tokens, the prompts of chats, the grammars over it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engineroom.errors import APIError
from engineroom.openai.calls import MARKERS

if TYPE_CHECKING:
    from llguidance import LLTokenizer

    from .loading import Loaded

_SPACES = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""As Python writes JSON. Were any white space allowed, a hot or small model would write nothing else."""

_TEMPLATE_OPTIONS = ("add_generation_prompt", "continue_final_message", "reasoning_effort")


class Vocabulary:
    """size: of the model's embedding table. eos: the tokens that end an answer."""

    def __init__(self, loaded: Loaded) -> None:
        self._tokenizer = tokenizer = loaded.tokenizer
        self.size: int = loaded.model.config.get_text_config().vocab_size
        eos = getattr(getattr(loaded.model, "generation_config", None), "eos_token_id", None)
        eos = tokenizer.eos_token_id if eos is None else eos
        self.eos: tuple[int, ...] = () if eos is None else (eos,) if isinstance(eos, int) else tuple(eos)
        special = zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)
        self._silent = frozenset(token for text, token in special if text not in MARKERS)

    @functools.cached_property
    def grammars(self) -> LLTokenizer:
        """llguidance's view of it."""
        from llguidance.hf import from_tokenizer

        return from_tokenizer(self._tokenizer, eos_token=list(self.eos) or None)

    def tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text)["input_ids"]
        return ids

    def text(self, token: int) -> bytes:
        """What a token adds to an answer: nothing for a special one, unless a tool call begins with it."""
        return b"" if token in self._silent else self.shown(token)

    def shown(self, token: int) -> bytes:
        return bytes(self.grammars.decode_bytes([token]))

    def check(self, *tokens: int, param: str = "prompt") -> None:
        """Raise APIError for what is no token, or for a prompt without any: it would take the whole batch with it."""
        if not tokens and param in ("prompt", "input"):
            raise APIError("The prompt is empty.", param=param, code="invalid_value")
        if any(not 0 <= token < self.size for token in tokens):
            raise APIError(f"Token ids go from 0 to {self.size - 1}.", param=param, code="invalid_value")

    def grammar(self, schema: Mapping[str, Any]) -> str:
        """A JSON schema as a grammar. Raises APIError where it cannot be enforced."""
        from llguidance import LLMatcher

        try:
            grammar: str = LLMatcher.grammar_from_json_schema(json.dumps(schema or {"type": "object"}), _SPACES)
            problem = LLMatcher.validate_grammar(grammar, self.grammars)
        except ValueError as error:
            problem = str(error)
        if problem:
            raise APIError(f"This JSON schema cannot be enforced: {problem}", code="unsupported_schema")
        return grammar

    def chat(self, messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[int]:
        """The prompt of a chat. Raises APIError where the model's template does not take it."""
        from jinja2 import TemplateError

        template = str(self._tokenizer.chat_template or "")
        tools = params.get("tools") or None
        if not template:
            raise APIError("This model has no chat template; CHAT_TEMPLATE can give it one.", param="messages")
        if tools and "tools" not in template:
            raise APIError(
                "This model's chat template has no place for tools, so the model would never see them. "
                "CHAT_TEMPLATE can give it another template.",
                param="tools",
                code="unsupported_parameter",
            )
        options = {name: params[name] for name in _TEMPLATE_OPTIONS if params.get(name) is not None}
        options = {"add_generation_prompt": not options.get("continue_final_message"), **options}
        options |= params.get("chat_template_kwargs") or {}
        try:
            said = [_for_template(message, template) for message in messages]
            text = self._tokenizer.apply_chat_template(said, tools=tools, tokenize=False, **options)
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise APIError(f"The chat template refuses these messages: {error}", param="messages") from error
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def _for_template(message: Mapping[str, Any], template: str) -> dict[str, Any]:
    """A message as templates expect it: tool calls' arguments as objects, `developer` as `system` where unknown."""
    said = dict(message)
    if said["role"] == "developer" and "developer" not in template:
        said["role"] = "system"
    if calls := [call["function"] for call in said.get("tool_calls") or ()]:
        parsed = [{**call, "arguments": json.loads(call["arguments"] or "{}")} for call in calls]
        said["tool_calls"] = [{"type": "function", "function": call} for call in parsed]
    return said
