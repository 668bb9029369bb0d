"""What has been said in a session, and its figures."""

from __future__ import annotations

from dataclasses import dataclass, field

from .answer import Answer
from .client import Message


@dataclass(slots=True)
class Conversation:
    """The messages that the model sees, and all answers of the session.

    system: the system prompt; empty for none.
    """

    system: str = ""
    messages: list[Message] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def asking(self, question: str) -> list[Message]:
        """What to send for one more question."""
        system: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self.messages, {"role": "user", "content": question}]

    def note(self, question: str, answer: Answer) -> None:
        """Keep a question and its answer, a part of one, too; one without any text is not kept for the model."""
        if answer.first_token_s is not None:
            self.answers.append(answer)
        if answer.text:
            self.messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer.text}]

    def clear(self) -> None:
        """Begin anew; the figures stay."""
        self.messages.clear()
