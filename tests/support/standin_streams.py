"""A stand-in for an OpenAI-compatible server that streams, in pieces of any size, or knows no `stream_options`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from standin_server import Handler, StandinServer

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


class StandinStreams(StandinServer):
    """Serves one model while the block lasts.

    Args:
        strict: refuse `stream_options` with a 422, as some servers do.
        piece: bytes that are sent at a time; events are cut anywhere.
        pieces: what to send instead, one piece at a time.

    asked: the bodies of the requests that came.
    """

    def __init__(self, strict: bool = False, piece: int = 50, pieces: Sequence[bytes] | None = None) -> None:
        asked: list[dict[str, Any]] = []
        self.asked = asked

        class Streams(Handler):
            def do_GET(self) -> None:
                self.answer(200, {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "x"}]})

            def do_POST(self) -> None:
                body = self.asked()
                asked.append(body)
                options = body.get("stream_options")
                if strict and options is not None:
                    self.answer(422, {"error": {"message": "Extra inputs are not permitted: stream_options"}})
                    return
                common = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
                usage: dict[str, Any] = {"usage": None} if options else {}
                chunks: list[dict[str, Any]] = [
                    {**common, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": why}], **usage}
                    for text, why in (('a ,"usage":null b', None), ("ü", "stop"))
                ]
                if options and options.get("include_usage"):
                    chunks.append({**common, "choices": [], "usage": USAGE})
                lines = [json.dumps(chunk, separators=(",", ":"), ensure_ascii=False) for chunk in chunks]
                data = "".join(f"data: {line}\r\n\r\n" for line in [*lines, "[DONE]"]).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                cut = [data[start : start + piece] for start in range(0, len(data), piece)]
                for part in cut if pieces is None else pieces:
                    self.wfile.write(part)
                    self.wfile.flush()
                    time.sleep(0.002)

        super().__init__(Streams)
        self.url += "/v1"
