"""HTTP itself is uvicorn's; what is not HTTP is told so in the API's own form."""

from __future__ import annotations

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from engineroom.errors import APIError
from engineroom.openai.errors import error_body


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, whose one answer of its own becomes OpenAI's error."""

    def send_400_response(self, msg: str) -> None:
        body = msgspec.json.encode(error_body(APIError(msg, code="invalid_http")))
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        self.transport.close()
