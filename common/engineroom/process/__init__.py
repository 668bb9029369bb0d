"""Child processes, which are watched and always cleaned up, also if the process that started them is killed."""

from __future__ import annotations

from . import reaper
from .child import Process
from .output import LogFormat
from .reaper import descendants
from .secrets import is_secret_name, without_secrets

__all__ = ["LogFormat", "Process", "descendants", "is_secret_name", "reaper", "without_secrets"]
