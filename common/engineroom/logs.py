"""Logging: one line an event, as text for people or JSON for machines, to stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from .settings.worker import WorkerSettings


class Event:
    """Something to log that has fields: `what name=value …` as text, fields of the object as JSON.

    What comes from outside stays on its line: a value with white space or the like is quoted.
    """

    def __init__(self, what: str, **fields: Any) -> None:
        self.what = what
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.what, *(f"{name}={_quoted(str(value))}" for name, value in self.fields.items())])


def _quoted(text: str) -> str:
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=')
    return text if text and plain else json.dumps(text)


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(record.msg, Event):
            fields |= {"message": record.msg.what, **record.msg.fields}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`12:34:56 INFO    message`; the logger's name is there where the message is not ours, or `names` asks for it."""

    def __init__(self, *, names: bool, colour: bool) -> None:
        super().__init__("%(asctime)s %(level)s %(from)s%(message)s", "%H:%M:%S")
        self._names = names
        self._colour = colour

    def formatMessage(self, record: logging.LogRecord) -> str:
        ours = record.name.startswith("engineroom") and not self._names
        colour = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}.get(record.levelno)
        level = f"{record.levelname:<7}"
        record.__dict__["level"] = f"\x1b[{colour}m{level}\x1b[0m" if colour and self._colour else level
        record.__dict__["from"] = "" if ours else record.name.removeprefix("engine.") + ": "
        return super().formatMessage(record)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at that moment: a spinner puts itself there, to stay below the lines."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def configure(settings: WorkerSettings) -> None:
    """Set up the root logger. A program that embeds an engine does not call this."""
    handler = _Stderr()
    if settings.log_format == "json":
        handler.setFormatter(JSONFormatter())
    else:
        colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        handler.setFormatter(TextFormatter(names=settings.log_level == "DEBUG", colour=colour))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
