"""A model's tokeniser: the bytes of its tokens, and the prompts of chats."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from engineroom.errors import APIError
from engineroom.openai.serving import chat_template
from engineroom.openai.serving.tool_calls import MARKERS

_SENTENCEPIECE = (b"<0x0A>", "▁".encode())
"""A token that only vocabularies of SentencePiece's kind have, which write bytes so, and a space as the other one."""


class ModelTokenizer:
    """The tokeniser beside a model's files.

    Args:
        model: a GGUF file, or a folder.
        template: replaces the model's own chat template.

    Raises:
        RuntimeError: there is none, or it cannot be read.
    """

    def __init__(self, model: str, template: str | None) -> None:
        import openvino_genai

        self._tokenizer = openvino_genai.Tokenizer(model)
        self.template: str = template if template is not None else self._tokenizer.get_original_chat_template()
        self._data = {number: data for data, number in self._tokenizer.get_vocab().items()}
        self.size: int = max(self._data) + 1
        self._sentencepiece = _SENTENCEPIECE[0] in self._data.values()
        self.text = functools.cache(self._text)

    def longest(self, wanted: int) -> int:
        """Tokens of the longest text that is not cut off, as far as that is below `wanted`."""
        return min(wanted, len(self.tokenize(" a" * (wanted + 1))))

    def tokenize(self, text: str) -> list[int]:
        return self._encode(text, add_special_tokens=True)

    def _encode(self, text: str, add_special_tokens: bool) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).input_ids.data[0].tolist()
        return ids

    def _text(self, token: int) -> bytes:
        """What a token adds to an answer: nothing for a special one, unless a tool call begins with it."""
        data: bytes = self._data.get(token, b"")
        decode = self._tokenizer.decode
        special = not decode([token]) and decode([token], skip_special_tokens=False)
        if special:
            return data if data.decode(errors="replace") in MARKERS else b""
        if self._sentencepiece:
            byte = re.fullmatch(rb"<0x([0-9A-F]{2})>", data)
            return bytes.fromhex(byte[1].decode()) if byte else data.replace(_SENTENCEPIECE[1], b" ")
        return data

    def chat(self, messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[int]:
        """The prompt of a chat. Raises APIError where the model's template does not take it."""
        tools = params.get("tools") or None
        adapted = chat_template.fitted(messages, self.template, tools)
        tokens = {"bos_token": self._tokenizer.get_bos_token(), "eos_token": self._tokenizer.get_eos_token()}
        variables = {**tokens, "tools": tools, "documents": None, **chat_template.variables(params)}
        try:
            text = self._template.render(messages=adapted, **variables)
            if variables.pop("continue_final_message", False):
                last = str(adapted[-1]["content"])
                text = text[: text.rindex(last.strip()) + len(last.strip())]
        except Exception as error:  # Whatever the template, or Jinja for it, raises.
            raise APIError(f"The chat template refuses these messages: {error}", param="messages") from error
        return self._encode(text, add_special_tokens=False)

    @functools.cached_property
    def _template(self) -> Any:
        """It runs in a sandbox, with what Hugging Face's transformers give to templates."""
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> None:
            raise ValueError(message)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
        environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
        return environment.from_string(re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", self.template))
