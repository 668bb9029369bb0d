"""What a person at a terminal sees of the HTTP door: its log, and `engineroom check` against it."""

from __future__ import annotations

import os
import subprocess

from http_door import COMMAND, serving


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, "check", *arguments], capture_output=True, text=True, timeout=60, env=os.environ)


def test_check_takes_a_base_url_and_a_key() -> None:
    with serving({"API_KEYS": "alice:sk-alice"}) as door:
        refused = check(door.url)
        assert refused.returncode == 1
        assert "--api-key" in refused.stderr
        kept = check(f"{door.url}/v1", "--api-key", "sk-alice", "--only", "chat_answers")
        assert kept.returncode == 0, kept.stderr
        assert "1 kept, 0 broken" in kept.stdout
