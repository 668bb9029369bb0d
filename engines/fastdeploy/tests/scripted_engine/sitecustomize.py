"""A scripted engine under FastDeploy's real HTTP front end: on PYTHONPATH, it takes LLMEngine's place.

The front end is upstream's own, from gunicorn to tokenizer, chat template and parsers. What it talks to over ZMQ
and shared memory is this: no worker, no weights, no GPU; each request's own prompt tokens come back, one at a time.

    SCRIPTED_ENGINE_LOG   a file in which each request and each abort is noted as a line of JSON

Written from the sources of releases 2.3 to 2.6; only classes of FastDeploy itself put messages on its wire.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import sys
import threading
import time
from types import ModuleType, SimpleNamespace
from typing import Any

_REPLACED = "fastdeploy.engine.engine"
_SIGNALS = ("worker_healthy_live_signal", "model_weights_status", "prefix_tree_status", "kv_cache_status")


class AfterImport(importlib.abc.MetaPathFinder):
    """Runs `script` on FastDeploy's engine module as soon as it has been imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != _REPLACED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            script(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def script(module: Any) -> None:
    module.LLMEngine.from_engine_args = classmethod(
        lambda cls, args, *rest, **named: ScriptedEngine(args.create_engine_config(port_availability_check=False))
    )


class ScriptedEngine:
    """What the server needs of an LLMEngine."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.engine = SimpleNamespace(data_processor=None)
        self._aborted: set[str] = set()
        self._log = os.environ.get("SCRIPTED_ENGINE_LOG", os.devnull)

    def start(self, api_server_pid: Any = None) -> bool:
        import zmq
        from fastdeploy.inter_communicator import ZmqIpcServer

        queue = self.cfg.parallel_config.engine_worker_queue_port
        suffix = int(queue[0] if isinstance(queue, (list, tuple)) else queue)
        os.environ["INFERENCE_MSG_QUEUE_ID"] = str(suffix)
        self._signals = self._make_signals(suffix)
        self._requests = ZmqIpcServer(name=api_server_pid, mode=zmq.PULL)
        self._replies = ZmqIpcServer(name=api_server_pid, mode=zmq.ROUTER)
        for work in (self._replies.recv_result_handle, self._receive, self._stay_alive):
            threading.Thread(target=work, daemon=True).start()
        return True

    def _make_signals(self, suffix: int) -> dict[str, Any]:
        import numpy as np
        from fastdeploy.inter_communicator import IPCSignal

        sizes = {"worker_healthy_live_signal": min(8, self.cfg.parallel_config.tensor_parallel_size)}
        return {
            name: IPCSignal(
                name=name, array=np.zeros([sizes.get(name, 1)], np.int32), dtype=np.int32, suffix=suffix, create=True
            )
            for name in _SIGNALS
        }

    def _stay_alive(self) -> None:
        while True:
            self._signals["worker_healthy_live_signal"].value[:] = int(time.time())
            time.sleep(1)

    def _receive(self) -> None:
        multimodal = self.cfg.model_config.enable_mm
        while True:
            error, task = (
                self._requests.receive_pyobj_once(True) if multimodal else self._requests.receive_json_once(True)
            )
            if error is not None:
                return
            if not task.get("prompt_token_ids"):
                # A message about a request instead of one: the front end aborts it.
                self._aborted.add(task["request_id"])
                self._note("abort", task)
                continue
            self._note("request", task)
            threading.Thread(target=self._answer, args=(task,), daemon=True).start()

    def _note(self, kind: str, task: dict[str, Any]) -> None:
        with open(self._log, "a") as file:
            file.write(json.dumps({"kind": kind, **{k: v for k, v in task.items() if _plain(v)}}) + "\n")

    def _answer(self, task: dict[str, Any]) -> None:
        from fastdeploy.engine.request import CompletionOutput, RequestMetrics, RequestOutput

        name = task["request_id"]
        tokens = (list(task["prompt_token_ids"]) * 1000)[: task["max_tokens"]]
        limit = min(len(tokens), int(task.get("max_tokens") or 1))
        now = time.time()
        for step, token in enumerate(tokens[:limit]):
            if name in self._aborted:
                return
            metrics = RequestMetrics(arrival_time=now)
            for field in ("first_token_time", "inference_start_time", "request_start_time"):
                if hasattr(metrics, field):
                    setattr(metrics, field, now)
            output = CompletionOutput(index=0, send_idx=step, token_ids=[token])
            last = step == limit - 1
            reply = RequestOutput(request_id=name, outputs=output, finished=last, metrics=metrics)
            self._replies.send_response(name, [reply])
            time.sleep(0.01)


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


sys.meta_path.insert(0, AfterImport())
