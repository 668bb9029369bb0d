"""Which server a request goes to, and to which next."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from engineroom.asgi import Message, Receive, Scope, Send, at_head
from engineroom.errors import APIError, drop_tracebacks
from engineroom.openai.body import checked_request

from .server import ELSEWHERE, UpstreamServer


class Balancer:
    """An app that answers each request with one of several servers. The gateway cancels it when the client disconnects.

    A request goes to the server that has its model and the fewest of our requests. As long as its client has got
    nothing, a server that fails, is busy or has not what is asked for is followed by the next; each is asked once.

    A 500 may be the request's fault. Where another server then answers, it was the server's own, and its breaker counts
    it: a server that fails at once would otherwise always be the least loaded.

    A server whose breaker is open is left out as long as there is another. Where there is none it is asked all the
    same: what a few requests made it do is no reason to refuse those of all others.
    """

    def __init__(self, servers: Sequence[UpstreamServer]) -> None:
        self._servers = servers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = checked_request(scope)
        model = request.json.get("model") if request.json is not None else None
        candidates = list(self._servers)
        sent = False

        def send_head(message: Message) -> Awaitable[None]:
            nonlocal sent
            sent = True
            return send(message)

        failure: APIError | None = None
        doubtful: list[UpstreamServer] = []
        while (server := least_loaded(candidates, model, at_all=failure is None)) is not None:
            candidates.remove(server)
            try:
                await server.serve(scope, at_head(send, send_head))
            except APIError as error:
                if sent or error.status not in ELSEWHERE:
                    raise
                drop_tracebacks(error)  # It is kept here, in a frame of its own traceback.
                if error.status == 500:
                    doubtful.append(server)
                # That one server has not what is asked for matters only where no other has it either.
                failure = failure if failure is not None and error.status == 404 else error
            else:
                for other in doubtful:
                    other.breaker.failed()
                return
        for server in doubtful:
            server.breaker.succeeded()
        raise failure or APIError(
            "None of the servers behind this one is available now.",
            status=503,
            code="upstream_unavailable",
            retry_after=2,
        )


def least_loaded(servers: Sequence[UpstreamServer], model: str | None, *, at_all: bool) -> UpstreamServer | None:
    """The server with the fewest of our requests, that has `model`; None where there is none.

    Args:
        at_all: whether one whose breaker is open is better than none.
    """
    able = sorted((server for server in servers if server.answers and server.has(model)), key=_running)
    for server in able:
        if server.breaker.allow():
            return server
    return able[0] if able and at_all else None


def _running(server: UpstreamServer) -> int:
    return server.running
