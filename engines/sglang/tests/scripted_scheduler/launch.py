"""SGLang's real HTTP front end, tokeniser and detokeniser over a scripted scheduler, which has no model: `launch.py …`.

It takes SGLang's own command line, runs in SGLang's Python, and says the tokens of the prompt again, until a stop
string or the limit. Neither a GPU nor SGLang's kernels are needed. Nor is torchvision, whose builds want a GPU's torch:
SGLang imports it, and a module that can only be imported stands in for it.
"""

from __future__ import annotations

import array
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import time
import types
from typing import Any

ABSENT = ("torchvision",)


class AbsentModule(types.ModuleType):
    """A module whose names can be imported, and not be used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        constants = dict.fromkeys(("BICUBIC", "BILINEAR", "BOX", "HAMMING", "LANCZOS", "NEAREST", "NEAREST_EXACT"), 0)
        return type(name, (), constants)


class AbsentFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds them; whoever asks whether they are installed is told that they are not."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        here = name.split(".")[0] in ABSENT
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if here else None

    def create_module(self, spec: Any) -> types.ModuleType:
        return AbsentModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""


def put_absent_modules() -> None:
    missing = importlib.util.find_spec("torchvision") is None
    if not missing:
        return
    real = importlib.util.find_spec
    sys.meta_path.append(AbsentFinder())
    importlib.util.find_spec = lambda name, package=None: (  # type: ignore[assignment]
        None if name.split(".")[0] in ABSENT else real(name, package)
    )


put_absent_modules()


def scripted_scheduler(server_args: Any, port_args: Any, *others: Any, **more: Any) -> None:
    """In a process of its own, in place of `run_scheduler_process`."""
    import zmq
    from sglang.srt.managers import io_struct
    from sglang.srt.utils.network import get_zmq_socket
    from transformers import AutoTokenizer

    pipe = more.get("pipe_writer") or others[-1]
    tokenizer = AutoTokenizer.from_pretrained(server_args.model_path)
    context = zmq.Context(2)
    received = get_zmq_socket(context, zmq.PULL, port_args.scheduler_input_ipc_name, False)
    sends = get_zmq_socket(context, zmq.PUSH, port_args.detokenizer_ipc_name, False)
    pipe.send({"status": "ready", "max_total_num_tokens": 8192, "max_req_input_len": 8191, "startup_time": {}})
    running: dict[str, Any] = {}
    while True:
        while received.poll(2 if running else 1000):
            message = io_struct.sock_recv(received)
            kind = type(message).__name__
            if kind == "TokenizedGenerateReqInput":
                running[message.rid] = ScriptedRequest(message)
            elif kind == "BatchTokenizedGenerateReqInput":
                running |= {each.rid: ScriptedRequest(each) for each in message.batch}
            elif kind == "AbortReq":
                aborted = [rid for rid in running if message.abort_all or rid.startswith(message.rid)]
                for rid in aborted:
                    del running[rid]
        for rid, request in list(running.items()):
            token, finished = request.step(tokenizer)
            io_struct.sock_send(
                sends, io_struct.BatchTokenIDOutput(**output_of(io_struct, rid, request, token, finished))
            )
            if finished:
                del running[rid]
        time.sleep(0.002)


class ScriptedRequest:
    """What is said to one request."""

    def __init__(self, message: Any) -> None:
        self.prompt = list(message.input_ids)
        self.params = message.sampling_params
        self.said: list[int] = []

    def step(self, tokenizer: Any) -> tuple[int, dict[str, Any] | None]:
        """The next token, and why it is the last, if it is."""
        token = self.prompt[len(self.said) % len(self.prompt)]
        self.said.append(token)
        text = tokenizer.decode(self.said)
        stop = next((stop for stop in self.params.stop_strs or () if stop in text), None)
        if stop is not None:
            return token, {"type": "stop", "matched": stop}
        limit = self.params.max_new_tokens or 8192
        return token, {"type": "length", "length": limit} if len(self.said) >= limit else None


def output_of(io_struct: Any, rid: str, request: ScriptedRequest, token: int, finished: Any) -> dict[str, Any]:
    """The fields of a BatchTokenIDOutput; None or nothing for what is not asked here."""
    import msgspec

    fields = {field.name: field for field in msgspec.structs.fields(io_struct.BatchTokenIDOutput)}
    values: dict[str, Any] = {name: None for name, field in fields.items() if field.required}
    values |= {name: [[]] for name in fields if "logprobs_" in name and fields[name].required}
    values |= {name: [[]] for name in fields if name.endswith("_histogram")}
    counted = ("spec_verify_ct", "spec_num_correct_drafts", "spec_num_block_accept_tokens", "spec_num_cap_tokens")
    counted += (
        "reasoning_tokens",
        "cached_tokens",
        "retraction_counts",
        "image_tokens",
        "audio_tokens",
        "video_tokens",
    )
    values |= {name: [0] for name in counted if name in fields}
    listed = ("http_worker_ipcs", "dp_ranks", "weight_versions", "placeholder_tokens_idx", "placeholder_tokens_val")
    values |= {name: [None] for name in listed if name in fields}
    new = array.array("q", [token])
    return {
        **values,
        "rids": [rid],
        "finished_reasons": [finished],
        "decoded_texts": [""],
        "decode_ids": [new],
        "read_offsets": [0],
        "output_ids": [new],
        "skip_special_tokens": [request.params.skip_special_tokens],
        "spaces_between_special_tokens": [True],
        "no_stop_trim": [request.params.no_stop_trim],
        "prompt_tokens": [len(request.prompt)],
        "completion_tokens": [len(request.said)],
    }


if __name__ == "__main__":
    from sglang.srt.entrypoints import http_server
    from sglang.srt.server_args import prepare_server_args

    args = prepare_server_args([*sys.argv[1:], "--device=cpu"])
    args.resolve_once()
    http_server.launch_server(args, run_scheduler_process_func=scripted_scheduler)
