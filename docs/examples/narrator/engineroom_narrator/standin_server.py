"""A stand-in for an engine's server: it tells one story over OpenAI's API, and there is no model in it.

python standin_server.py PORT MODEL WORDS_PER_SECOND
"""

import itertools
import json
import os
import select
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, MODEL, PAUSE = int(sys.argv[1]), sys.argv[2], 1 / float(sys.argv[3])
STORY = "Once upon a time there was a server that had one story and told it to whoever came by ."
CONTEXT = 4096


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    running = 0
    lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """An access log is the door's business."""

    def do_GET(self):
        if self.path == "/metrics":
            return self.answer(200, f"# TYPE narrator_running gauge\nnarrator_running {self.server.running}\n")
        return self.answer(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        if self.path == "/standin/die":
            os._exit(1)
        prompt = len(json.dumps(body.get("messages") or body.get("prompt")).split())
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 100
        if prompt + limit > CONTEXT:
            message = f"This model's maximum context length is {CONTEXT} tokens."
            error = {"message": message, "type": "invalid_request_error", "param": "messages"}
            return self.answer(400, {"error": {**error, "code": "context_length_exceeded"}})
        with self.server.lock:
            self.server.running += 1
        try:
            return self.stream(body, prompt, limit) if body.get("stream") else self.whole(body, prompt, limit)
        except ConnectionError:
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.running -= 1

    def words(self, limit, stops):
        """A word at a time, for as long as the client is there; `self.reason` says why they end."""
        text = ""
        for word in itertools.islice(itertools.cycle(STORY.split()), limit):
            time.sleep(PAUSE)
            if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionError("the client has gone")
            text += word + " "
            yield word + " "
            if any(string in text for string in stops):
                self.reason = "stop"
                return
        self.reason = "length"

    def whole(self, body, prompt, limit):
        stops = stop_strings(body)
        words = list(self.words(limit, stops))
        text = "".join(words)
        for string in stops:
            text = text.partition(string)[0]
        content = {"message": {"role": "assistant", "content": text}} if "chat" in self.path else {"text": text}
        usage = {"prompt_tokens": prompt, "completion_tokens": len(words), "total_tokens": prompt + len(words)}
        choices = [{"index": 0, **content, "finish_reason": self.reason}]
        self.answer(200, {**self.head(""), "choices": choices, "usage": usage})

    def stream(self, body, prompt, limit):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        chat, head, count = "chat" in self.path, self.head(".chunk"), 0
        if chat:
            self.event({**head, "choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]})
        for word in self.words(limit, stop_strings(body)):
            count += 1
            text = {"delta": {"content": word}} if chat else {"text": word}
            self.event({**head, "choices": [{"index": 0, **text, "finish_reason": None}]})
        end = {"delta": {}} if chat else {"text": ""}
        self.event({**head, "choices": [{"index": 0, **end, "finish_reason": self.reason}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": prompt, "completion_tokens": count, "total_tokens": prompt + count}
            self.event({**head, "choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def head(self, suffix):
        kind = f"chat.completion{suffix}" if "chat" in self.path else "text_completion"
        return {"id": f"standin-{time.monotonic_ns()}", "object": kind, "created": int(time.time()), "model": MODEL}

    def event(self, event):
        self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")

    def answer(self, status, body):
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if body is text else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def stop_strings(body):
    stop = body.get("stop") or []
    return [stop] if isinstance(stop, str) else stop


Server(("127.0.0.1", PORT), Handler).serve_forever()
