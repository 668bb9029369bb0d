"""The process that runs the model: OpenVINO GenAI keeps Python's interpreter lock for as long as a step takes.

    python child.py '{"model": "…", "device": "CPU", …}' SOCKET

It imports nothing of ours, and speaks as `engineroom.in_process.ModelProcess` says. Its only thread reads requests
between two steps of the pipeline. An error of a step is its end: the pipeline would repeat it for every request.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
from pathlib import Path
from typing import Any


class WorkerSocket:
    """The socket to the worker; its end is ours."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._rest = b""

    def send(self, **message: Any) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, wait: bool) -> list[Any]:
        """The messages that have come; with `wait` at least one."""
        lines: list[bytes] = []
        while select.select([self._socket], [], [], None if wait and not lines else 0)[0]:
            data = self._socket.recv(1 << 20)
            if not data:
                sys.exit()
            *complete, self._rest = (self._rest + data).split(b"\n")
            lines += complete
        return [json.loads(line) for line in lines]


def generate(job: dict[str, Any], connection: WorkerSocket) -> None:
    """Serve text: each request's token ids."""
    import numpy
    import openvino_genai as genai
    from openvino import Tensor

    scheduler = genai.SchedulerConfig()
    for name, value in job["scheduler"].items():
        setattr(scheduler, name, value)
    pipeline = genai.ContinuousBatchingPipeline(job["model"], scheduler, job["device"], job["properties"], {}, {})
    own = pipeline.get_config()
    eos = sorted({own.eos_token_id, *own.stop_token_ids} - {-1})
    connection.send(status={"eos": eos, "running": 0})
    handles: dict[int, Any] = {}
    while True:
        items = []
        ended = []
        for message in connection.receive(wait=not handles):
            if "cancel" in message:
                if message["cancel"] in handles:
                    handles[message["cancel"]].cancel()
                continue
            config = genai.GenerationConfig(apply_chat_template=False)
            for name, value in message["config"].items():
                setattr(config, name, set(value) if isinstance(value, list) else value)
            if message["grammar"] is not None:
                config.structured_output_config = genai.StructuredOutputConfig(grammar=message["grammar"])
            prompt = Tensor(numpy.array([message["prompt"]], dtype=numpy.int64))
            try:
                handles[message["id"]] = pipeline.add_request(message["id"], prompt, config)
            except RuntimeError as error:
                ended.append((message["id"], str(error).strip().rpartition("\n")[2]))
        if pipeline.has_non_finished_requests():
            pipeline.step()
        for number, handle in list(handles.items()):
            while handle.can_read():
                for output in handle.read().values():
                    items.append((number, list(output.generated_ids)))
            state = handle.get_status().name
            if state != "RUNNING":
                del handles[number]
                ended.append((number, "" if state == "FINISHED" else "the KV cache has no room for it"))
        connection.send(items=items, ended=ended, status={"eos": eos, "running": len(handles)})


def embed(job: dict[str, Any], connection: WorkerSocket) -> None:
    """Serve vectors: one of length 1 for each of a request's prompts."""
    import numpy
    import openvino

    model = openvino.Core().compile_model(
        str(Path(job["model"], "openvino_model.xml")), job["device"], job["properties"]
    )
    names = {name for port in model.inputs for name in port.names}
    connection.send(status={})
    while True:
        for message in connection.receive(wait=True):
            if "cancel" in message:
                continue
            vectors = []
            for prompt in message["prompts"]:
                ids = numpy.array([prompt], dtype=numpy.int64)
                filled = {"attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
                filled |= {"input_ids": ids, "position_ids": numpy.arange(ids.size)[None]}
                states = model({name: value for name, value in filled.items() if name in names})[0][0]
                pooled = {"cls": states[0], "lasttoken": states[-1]}.get(job["pooling"], states.mean(0))
                vectors.append((pooled / numpy.linalg.norm(pooled)).tolist())
            connection.send(items=[(message["id"], vectors)], ended=[(message["id"], "")])


def main() -> int:
    job = json.loads(sys.argv[1])
    connection = WorkerSocket(sys.argv[2])
    try:
        import openvino

        devices = openvino.Core().available_devices
        if job["device"] not in {name for device in devices for name in (device, device.partition(".")[0])}:
            raise RuntimeError(
                f"DEVICE={job['device']} is not there: OpenVINO has {', '.join(devices)} on this machine"
            )
        (embed if job["pooling"] else generate)(job, connection)
    except Exception as error:
        # Its lines tell where in OpenVINO it was raised, and the last of them why.
        why = re.sub(r"Exception from \S+:\s*|\s+(?=\s)", "", str(error)).strip()
        print("error:", " ".join(why.splitlines()), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
