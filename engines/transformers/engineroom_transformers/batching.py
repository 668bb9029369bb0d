"""transformers' continuous batching, its requests as async iterators of token ids."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from engineroom.errors import APIError
from engineroom.pool_load import CacheBlocks

from .sampling import Sampler, Sampling

if TYPE_CHECKING:
    from .settings import TransformersSettings
    from .vocabulary import Vocabulary

_PAGE = 32
_CPU_CACHE_TOKENS = 16_384
_CPU_STEP = 512
_GPU_STEP = 2048
"""Tokens of one step. Other requests wait for its end, and so does a client's leaving: 2048 take a CPU ten seconds and
more."""
_STOP_SECONDS = 30


class ContinuousBatch:
    """A running batch.

    Raises:
        Exception: whatever transformers and torch raise where the model cannot be batched or the cache has no room.
    """

    def __init__(self, model: Any, vocabulary: Vocabulary, settings: TransformersSettings) -> None:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        on_cpu = model.device.type == "cpu"
        tokens = settings.kv_cache_tokens or (_CPU_CACHE_TOKENS if on_cpu else None)
        config = ContinuousBatchingConfig(
            page_size=_PAGE,
            num_blocks=tokens and -(-tokens // _PAGE),
            max_batch_tokens=settings.max_num_batched_tokens or (_CPU_STEP if on_cpu else _GPU_STEP),
            max_requests_per_batch=settings.max_num_seqs,
            max_memory_percent=None if on_cpu else settings.gpu_memory_utilization,
            auto_switch_to_flash=settings.attn_implementation is None,
            use_cuda_graph=False,
            use_async_batching=False,
        )
        greedy = GenerationConfig(do_sample=False, eos_token_id=-1)
        self._manager = manager = model.init_continuous_batching(greedy, config)
        manager.logit_processor = Sampler(vocabulary)
        manager.output_router.output_queue = _Unclaimed(manager)
        manager.warmup()
        self.cache_blocks = CacheBlocks(_PAGE, manager.batch_processor.cache.num_blocks)
        self.capacity: int = self.cache_blocks.block_count * _PAGE
        """Tokens that the cache holds."""
        manager.start()

    def watch(self, ended: Callable[[str], None]) -> None:
        """Call `ended` with the reason, in the running loop, when the batch is over although nobody stopped it."""
        loop = asyncio.get_running_loop()
        thread = self.thread
        status = self._manager.background_thread_status

        def wait() -> None:
            thread.join()
            error = status.fatal_error
            if error is not None:
                loop.call_soon_threadsafe(ended, f"{type(error).__name__}: {error}")

        threading.Thread(target=wait, name="transformers-watch", daemon=True).start()

    @property
    def thread(self) -> threading.Thread:
        thread: threading.Thread = self._manager._generation_thread
        return thread

    @property
    def steps(self) -> int:
        """How many steps it has made so far."""
        return int(getattr(self._manager, "current_batch", 0))

    @property
    def load(self) -> tuple[int, int]:
        """Requests running and waiting."""
        scheduler = self._manager.batch_processor.scheduler
        return len(scheduler.active_requests), len(scheduler.waiting_requests) + self._manager.input_queue.qsize()

    @property
    def cache_usage(self) -> float:
        """The share of the cache that is in use, 0 to 1."""
        return 1.0 - float(self._manager.batch_processor.cache.compute_free_capacity())

    async def generate(
        self, prompt: Sequence[int], limit: int, sampling: Sampling
    ) -> AsyncGenerator[tuple[int, int], None]:
        """One request's tokens with their numbers, the one that ends it included; close the iterator to abort it."""
        manager = self._manager
        name = uuid.uuid4().hex
        changed = asyncio.Event()
        tokens: list[int] = []
        last_output: Any = None
        read = 0

        def receive(output: Any) -> None:
            nonlocal last_output
            # An output has all tokens so far.
            tokens.extend(output.generated_tokens[len(tokens) :])
            if output.is_finished():
                last_output = output
            changed.set()

        manager.register_result_handler(name, receive)
        try:
            options = {"eos_token_id": list(sampling.eos) or -1, "sampling": sampling}
            if manager.add_request(list(prompt), name, limit, streaming=True, **options) is None:
                raise APIError("The engine is stopping.", status=503)
            while last_output is None or read < len(tokens):
                await changed.wait()
                changed.clear()
                while read < len(tokens):
                    read += 1
                    yield read - 1, tokens[read - 1]
            if last_output.error is not None:
                raise APIError(f"The generation failed: {last_output.error}", status=500)
        finally:
            if last_output is None:
                manager.cancel_request(name)
                manager.output_router.result_handlers.pop(name, None)

    def stop(self, hung: bool = False) -> None:
        """End what runs, then the thread. Blocks, for at most half a minute; for none where the thread hangs."""
        self._manager.stop(hard_stop=True, timeout=0 if hung else _STOP_SECONDS)


class _Unclaimed:
    """Stands for the manager's queue of outputs that have no handler: those of requests whose client has left.

    The queue would keep them for ever. A request that still gets tokens was cancelled before the manager knew of it,
    so it is cancelled once more.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def put(self, output: Any) -> None:
        self._manager.cancel_request(output.request_id)
