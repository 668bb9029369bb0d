"""Keys that are pressed while a program writes to the terminal: they do not appear amid what it writes."""

from __future__ import annotations

import contextlib
import sys
import termios
from collections.abc import Iterator

_INPUT = 0
_LOCAL = 3


@contextlib.contextmanager
def quiet_keys() -> Iterator[None]:
    """Keys are not shown, and each can be read at once; Enter stays Enter. Ctrl-C and Ctrl-Z are signals as ever.

    What is typed before anything reads it waits for whatever reads next. Nothing happens where standard input is no
    terminal.
    """
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):
        yield
        return
    changed = before.copy()
    changed[_INPUT] &= ~termios.ICRNL
    changed[_LOCAL] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSANOW, changed)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
