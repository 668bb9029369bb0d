"""Workers that are killed at random moments on every kind of platform lose no job: `make bench-kills`, in small."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "runpod" / "kills.py"


async def test_kills_lose_no_job_and_no_client_sees_a_part_twice() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        *("--kills", "20", "--workers", "2", "--outage", "0", "--limit", "300", "--no-file"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
