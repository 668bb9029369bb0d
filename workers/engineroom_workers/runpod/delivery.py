"""A job from its answer to the platform: items streamed in order, then the result; nothing lost in silence."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import Any

import msgspec

from engineroom.errors import APIError
from engineroom.openai.errors import error_body

from .handler import Answer, JobFailed
from .platform import DeliveryError, Platform

logger = logging.getLogger(__name__)

LARGEST_RESULT = 20_000_000
"""Bytes of JSON; the platform refuses a larger result, and its job would hang until it times out."""


async def deliver(job_id: str, answer: Answer, platform: Platform) -> None:
    """Send a job's answer: each item of a stream by itself, and all items together as its result.

    An item that cannot be delivered ends the job with an error: a stream with a hole in it would look whole.
    Cancelling this aborts the generation and sends nothing more.
    """
    output: list[Any] = []
    result: dict[str, Any] = {"output": output}
    async with aclosing(answer.items) as items:
        try:
            async for item in items:
                output.append(item)
                if answer.stream:
                    await platform.stream(job_id, item)
        except JobFailed as error:
            result = {"error": str(error)}
        except DeliveryError as error:
            logger.error("job %s: an item of its stream could not be delivered: the platform %s", job_id, error)
            result = _failure(f"An item of the stream could not be delivered: the platform {error}.", 502)
    body = msgspec.json.encode(result)
    if len(body) > LARGEST_RESULT:
        body = msgspec.json.encode({"output": [_too_large(len(body), answer.stream)]})
    try:
        await platform.done(job_id, body)
    except DeliveryError as error:
        logger.error("job %s: its result could not be delivered: the platform %s", job_id, error)
        if error.rejected and "error" not in result:
            await _tell(job_id, _failure(f"The result was refused: the platform {error}.", 502), platform)


async def _tell(job_id: str, failure: dict[str, str], platform: Platform) -> None:
    try:
        await platform.done(job_id, msgspec.json.encode(failure))
    except DeliveryError as error:
        logger.error("job %s: the failure could not be reported either: the platform %s", job_id, error)


def _failure(message: str, status: int) -> dict[str, str]:
    body = error_body(APIError(message, status=status, code="delivery_failed"))
    return {"error": msgspec.json.encode(body).decode()}


def _too_large(size: int, streamed: bool) -> dict[str, Any]:
    message = f"The output has {size / 1e6:.1f} MB of JSON, more than the {LARGEST_RESULT / 1e6:.0f} MB of a result."
    if streamed:
        message += " All of it was streamed."
    return error_body(APIError(message, status=413, type="server_error", code="result_too_large"))
