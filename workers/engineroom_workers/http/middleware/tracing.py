"""OpenTelemetry traces: a span for each request, in the trace that the client began, handed on to the engine."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from engineroom.asgi import ASGIApp, Message, Receive, Scope, Send, at_head, header
from engineroom.errors import Problem, SettingsError
from engineroom.installation import how_to_install
from engineroom.openai.usage import get_usage

from .base import Middleware, Resources
from .context import get_context

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from ..options import Options

logger = logging.getLogger(__name__)

_FLUSH_S = 2
"""How long the door's end waits for a collector to take the last spans."""


class TracingMiddleware(Middleware):
    """A server span for each request to the engine; names are those of OpenTelemetry's conventions:
    https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and https://opentelemetry.io/docs/specs/semconv/gen-ai/

    Further `OTEL_*` variables are the library's own:
    https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """

    def __init__(self, app: ASGIApp, resources: Resources) -> None:
        super().__init__(app, resources)
        self._provider = _provider(resources.options.observe.otel_exporter_otlp_endpoint or "")
        self._tracer = self._provider.get_tracer("engineroom")
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def wanted(cls, options: Options) -> bool:
        return options.observe.otel_exporter_otlp_endpoint is not None

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

        context = get_context(scope)
        usage = get_usage(scope)
        received = {
            name: (header(scope, name.encode()) or b"").decode("latin-1") for name in ("traceparent", "tracestate")
        }
        span = self._tracer.start_span(
            f"{scope['method']} {scope['path']}",
            context=self._propagator.extract({name: value for name, value in received.items() if value}),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "url.path": scope["path"], "request.id": context.id},
        )
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=set_span_in_context(span))
        others = [(name, value) for name, value in scope["headers"] if name.decode("latin-1") not in carrier]
        scope["headers"] = [*others, *((name.encode(), value.encode()) for name, value in carrier.items())]

        def send_head(message: Message) -> Awaitable[None]:
            span.set_attribute("http.response.status_code", message["status"])
            if message["status"] == 404:  # What clients invent makes no new names.
                span.update_name(scope["method"])
            span.add_event("response started", {"seconds": time.perf_counter() - context.started})
            return send(message)

        try:
            await self.app(scope, receive, at_head(send, send_head))
        finally:
            span.set_attribute("gen_ai.usage.input_tokens", usage.prompt_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", usage.completion_tokens)
            span.set_attribute("enduser.id", context.key.name)
            span.set_attribute("engineroom.queue_seconds", context.queued)
            if context.status >= 500 or not context.status:
                span.set_status(StatusCode.ERROR)
            span.end()

    async def close(self) -> None:
        """Send what is left. The library would wait through all retries of an export, also of one under way."""
        # Daemonic, so that the process need not wait for it either.
        ending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, _FLUSH_S)
        if ending.is_alive():
            logger.warning("the collector did not take the last spans within %d s; they are dropped", _FLUSH_S)


def _provider(endpoint: str) -> TracerProvider:
    """What sends spans to `endpoint` (OTLP over HTTP), in batches and from a thread of its own.

    Raises:
        SettingsError: the library is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise SettingsError(
            [
                Problem(
                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                    f"needs OpenTelemetry's SDK: {how_to_install('engineroom-workers[tracing]')}",
                )
            ]
        ) from error
    provider = TracerProvider(
        resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or "engineroom"}),
        shutdown_on_exit=False,  # `TracingMiddleware.close` does that.
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    return provider
