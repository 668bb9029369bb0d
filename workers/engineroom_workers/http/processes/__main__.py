"""`python -m engineroom_workers.http.processes`: one door process. The main process starts it."""

from __future__ import annotations

from .door_process import main

main()
