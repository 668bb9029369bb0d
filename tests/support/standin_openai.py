"""A stand-in for somebody else's OpenAI-compatible server: one model, under any path; it answers where it was asked."""

from __future__ import annotations

from standin_server import Handler, StandinServer


class StandinOpenAI(StandinServer):
    """Serves `model` under `root` (`/v1`) while the block lasts; anything elsewhere is a 404."""

    def __init__(self, root: str, model: str) -> None:
        class OpenAI(Handler):
            def do_GET(self) -> None:
                listed = {"id": model, "object": "model", "created": 1686935002, "owned_by": "library"}
                self.answer(200 if self.path == f"{root}/models" else 404, {"object": "list", "data": [listed]})

            def do_POST(self) -> None:
                asked = self.asked()
                message = {"role": "assistant", "content": f"POST {self.path}"}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                known = self.path.startswith(f"{root}/") and asked["model"] == model
                self.answer(200 if known else 404, {"model": asked["model"], "choices": [choice]})

        super().__init__(OpenAI)
