"""transformers' own continuous batching in a plain script: what the worker is compared with.

`python bare.py MODEL --device auto --dtype bfloat16` in an environment with transformers. Reads a round a line,
`{"prompts": [...], "tokens": 64}`, and answers one: tokens, seconds, and each request's seconds to its first token.
Greedy, to the last token asked for, streamed a token at a time, and configured as the worker configures its manager;
`--defaults` leaves that to transformers, which on a GPU takes CUDA graphs and double buffering.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def manager_of(options: argparse.Namespace) -> tuple[Any, Any]:
    """A running manager, and the model's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, ContinuousBatchingConfig, GenerationConfig

    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(
        options.model, dtype=options.dtype, device_map=device, attn_implementation="sdpa"
    ).eval()
    page = 32
    same = {"use_cuda_graph": False, "use_async_batching": False, "auto_switch_to_flash": True}
    own: dict[str, Any] = {} if options.defaults else same
    config = ContinuousBatchingConfig(
        page_size=page,
        num_blocks=options.cache_tokens // page,
        max_batch_tokens=2048,
        max_requests_per_batch=16,
        **own,
    )
    manager = model.init_continuous_batching(GenerationConfig(do_sample=False, eos_token_id=-1), config)
    manager.warmup()
    manager.start()
    return manager, AutoTokenizer.from_pretrained(options.model)


async def play(manager: Any, prompts: list[list[int]], tokens: int, number: int) -> dict[str, Any]:
    """All prompts at once to their ends."""
    first: dict[int, float] = {}
    counts: dict[int, int] = {}
    finished = asyncio.Event()
    done: set[int] = set()
    began = time.perf_counter()

    def receive(place: int, output: Any) -> None:
        if output.generated_tokens:
            first.setdefault(place, time.perf_counter() - began)
        counts[place] = len(output.generated_tokens)
        if output.is_finished():
            done.add(place)
            if len(done) == len(prompts):
                finished.set()

    for place, prompt in enumerate(prompts):
        name = f"{number}-{place}"
        manager.register_result_handler(name, lambda output, place=place: receive(place, output))
        manager.add_request(prompt, name, tokens, streaming=True)
    await asyncio.wait_for(finished.wait(), 600)
    return {"tokens": sum(counts.values()), "seconds": time.perf_counter() - began, "first": list(first.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--cache-tokens", type=int, default=32768)
    parser.add_argument("--defaults", action="store_true")
    # In a thread that ends, as the worker loads it: a thread that has computed keeps its OpenMP pool, and with more
    # threads than cores libgomp's wait for each other asleep.
    with ThreadPoolExecutor(1) as loader:
        manager, tokenizer = loader.submit(manager_of, parser.parse_args()).result()
    print("ready", flush=True)
    for number, line in enumerate(sys.stdin):
        asked = json.loads(line)
        chats = ([{"role": "user", "content": prompt}] for prompt in asked["prompts"])
        texts = (tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in chats)
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        print(json.dumps(asyncio.run(play(manager, ids, asked["tokens"], number))), flush=True)
    manager.stop(block=True, timeout=10)


if __name__ == "__main__":
    main()
