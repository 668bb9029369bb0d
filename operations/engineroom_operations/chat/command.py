"""`engineroom chat`."""

from __future__ import annotations

import sys
from typing import Any

import click


@click.command()
@click.argument("target", required=False, metavar="[URL|MODEL]")
@click.option("--system", default="", metavar="TEXT", help="The system prompt.")
@click.option("--model", default="", metavar="NAME", help="The served model, where there are several.")
@click.option("--api-key", default="", metavar="KEY", help="The server's key, where its usual variable has another.")
@click.option("--temperature", type=click.FloatRange(0), help="How freely the model picks its words.")
@click.option("--max-tokens", type=click.IntRange(1), help="Tokens of an answer, at most.")
@click.option("--engine", default="", metavar="NAME", help="The engine that is to serve MODEL.")
def chat(
    target: str | None,
    system: str,
    model: str,
    api_key: str,
    temperature: float | None,
    max_tokens: int | None,
    engine: str,
) -> None:
    """Chat in the terminal.

    The server may be any of OpenAI's API: a URL, `host:port`, an endpoint of RunPod by its id, its name or its URL.
    Without an argument it is the one on this machine (HOST, PORT). For a MODEL, a path or a repository of a hub, a
    server is started, and ended with the chat.

    \b
        engineroom chat
        engineroom chat http://10.0.0.5:8000
        engineroom chat https://api.runpod.ai/v2/ENDPOINT_ID
        engineroom chat unsloth/Qwen3-0.6B-GGUF

    Within the chat /help lists the commands. Ctrl-C stops an answer, Ctrl-D leaves.

    Without a terminal, standard input is one prompt, and the answer goes to standard output:

    \b
        git diff | engineroom chat --system "Write a commit message for this diff."

    Keys: RUNPOD_API_KEY for RunPod's endpoints, the first of API_KEYS for this machine, else OPENAI_API_KEY.
    """
    import asyncio

    from .run import ChatRun, run

    parameters: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
    given = {name: value for name, value in parameters.items() if value is not None}
    wanted = ChatRun(target or "", system, model, api_key, engine, given)
    sys.exit(asyncio.run(run(wanted)))
