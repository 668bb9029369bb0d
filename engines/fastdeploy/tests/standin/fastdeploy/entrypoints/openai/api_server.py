"""`python -m fastdeploy.entrypoints.openai.api_server`, as the stand-in plays it: options, start, leftovers, end.

STANDIN_START breaks the start: `fail` logs why in the worker's log and exits with 0, as FastDeploy does;
`missing` exits with 1; `stuck` never opens its port.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from fastdeploy.routes import make_app
from fastdeploy.version import VERSION, options


def read_options() -> dict[str, Any]:
    """Keys of --config that this version knows; it says nothing of the others. An unknown flag exits with 2."""
    parser = argparse.ArgumentParser(prog="api_server.py")
    parser.add_argument("--config")
    config = yaml.safe_load(Path(parser.parse_args().config).read_text())
    known = options()
    return {**known, **{name: value for name, value in config.items() if name in known}}


def main() -> None:
    found = read_options()
    logs = Path(os.environ.get("FD_LOG_DIR", "log"))
    logs.mkdir(parents=True, exist_ok=True)
    fault = os.environ.get("STANDIN_START", "")
    if fault == "missing":
        print(f"Exception: The master of {found['model']} is not exist. Please check the model name or revision.")
        sys.exit(1)
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (logs / "worker.pid").write_text(str(worker.pid))
    if fault == "fail":
        (logs / "workerlog.0").write_text("Loading Weights:  12%\nMemoryError: Out of memory error on GPU 0.\n")
        (logs / "fastdeploy.log").write_text("ERROR engine.py: start failed\n")
        print("ERROR Failed to launch worker processes, check log/workerlog.* for more details.", flush=True)
        sys.exit(0)
    if fault == "stuck":
        (logs / "workerlog.0").write_text("Loading Weights:  12%\n")
        time.sleep(600)
    leave_behind(found)
    web.run_app(
        make_app(found),
        host=found["host"],
        port=int(found["port"]),
        print=None,
        keepalive_timeout=2,
        handler_cancellation=True,
    )
    # The worker is in a session of its own and is left running, and so are the files of `leave_behind`.


def leave_behind(found: dict[str, Any]) -> None:
    """The shared memory and files that have been seen to outlive FastDeploy."""
    shm, queue = Path("/dev/shm"), str(found["engine_worker_queue_port"]).split(",")[0]
    for name in (f"{found['port']}.socket", f"router_{found['port']}.ipc", f"worker_ready_signal.{queue}"):
        (shm / name).touch()
    Path(f"/tmp/fd_weight_clear_update_lock__pid{found['port']}_port{queue}.lock").touch()
    if VERSION >= (2, 6):
        (shm / f"fd_lock_kvcache.{queue}").touch()
    prometheus = Path(os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", f"/tmp/prom_main_{uuid.uuid4()}"))
    prometheus.mkdir(parents=True, exist_ok=True)


if __name__ == "__main__":
    main()
