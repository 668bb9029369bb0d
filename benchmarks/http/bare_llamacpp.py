"""llama.cpp's own server, started as the engine starts it but on a port and by itself: what the door is compared with.

python bare_llamacpp.py PORT
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import engineroom_llamacpp
from engineroom import plugins
from engineroom.settings import Environment, WorkerSettings
from engineroom_llamacpp import LlamaCppEngine
from engineroom_llamacpp.models import packaged


def main(port: int) -> None:
    env = plugins.understood(LlamaCppEngine, Environment.load())
    flags = LlamaCppEngine.configure(WorkerSettings.load(env), env)._values
    job = {"model": str(packaged()), "listen": "127.0.0.1", "port": port, "names": ["SmolLM2"], "flags": flags}
    child = str(Path(engineroom_llamacpp.__file__).with_name("child.py"))
    os.execve(sys.executable, [sys.executable, child, json.dumps(job)], {**os.environ, "LLAMA_API_KEY": "none"})


if __name__ == "__main__":
    main(int(sys.argv[1]))
