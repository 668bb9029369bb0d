"""Traces, at a stand-in for a collector that takes OTLP over HTTP."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from http_door import free_port, serving
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_each_request_is_a_span_of_its_clients_trace() -> None:
    bodies: list[bytes] = []

    class StandinCollector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    collector = ThreadingHTTPServer(("127.0.0.1", 0), StandinCollector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
    settings["OTEL_SERVICE_NAME"] = "lighthouse"
    try:
        with serving(settings) as door:
            body = {"messages": [{"role": "user", "content": "Hello"}]}
            headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
            assert httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=headers).status_code == 200
            assert httpx.post(f"{door.url}/made/up/7", json=body).status_code == 404
            door.process.terminate()
            assert door.ended() == 0
    finally:
        collector.shutdown()
        collector.server_close()
    sent = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    resource = {a.key: a.value.string_value for a in sent[0].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "lighthouse"
    spans = [s for request in sent for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
    spans.sort(key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in spans] == ["POST /v1/chat/completions", "POST"]
    assert spans[0].trace_id.hex() == TRACE
    assert spans[0].parent_span_id.hex() == "b7ad6b7169203331"
    attributes = {attribute.key: attribute.value for attribute in spans[0].attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["gen_ai.usage.output_tokens"].int_value > 0


@pytest.mark.parametrize("there", [False, True], ids=["away", "silent"])
def test_without_its_collector_the_door_serves_and_ends(there: bool) -> None:
    """A collector that is away is asked again for ten seconds; the door's end does not wait for that."""
    with ExitStack() as stack:
        port = free_port()
        if there:
            silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = silent.getsockname()[1]
        door = stack.enter_context(serving({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}))
        body = {"messages": [{"role": "user", "content": "Hello"}]}
        assert httpx.post(f"{door.url}/v1/chat/completions", json=body).status_code == 200
        door.process.terminate()
        assert door.ended() == 0
        assert "they are dropped" in door.log
        assert "Traceback" not in door.log
