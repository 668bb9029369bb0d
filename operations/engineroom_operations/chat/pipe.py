"""A chat without a terminal: one prompt from standard input, its answer on standard output."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from ..targets.connection import TargetError
from .answer import Answer
from .client import ChatClient
from .conversation import Conversation
from .terminal import unknown_model
from .waiting import models_of


async def answer_once(
    client: ChatClient, conversation: Conversation, prompt: str, model: str, parameters: Mapping[str, Any]
) -> None:
    """Write the answer as it streams, as it is; reasoning is left out.

    Raises:
        TargetError: the server does not answer.
    """
    models = [] if model else await models_of(client, _say_once())
    if not model and not models:
        raise TargetError(f"{client.target.name} does not say which models it serves; name one with --model")
    answer = Answer(model=model or models[0])
    try:
        async for piece in client.stream(conversation.asking(prompt), answer, parameters):
            if not piece.reasoning:
                sys.stdout.write(piece.text)
                sys.stdout.flush()
    except TargetError as error:
        if model and error.status == 404:
            served = await client.models()
            if served and model not in served:
                raise TargetError(unknown_model(model, served), 404) from error
        raise
    finally:
        if answer.text and not answer.text.endswith("\n"):
            sys.stdout.write("\n")
    if answer.finish_reason == "length":
        sys.stderr.write("(cut off: the limit of tokens is reached)\n")


def _say_once() -> Any:
    """What tells the user once that the server is still loading."""
    lines: list[str] = []

    def say(text: str) -> None:
        if not lines:
            sys.stderr.write(f"{text}\n")
            lines.append(text)

    return say
