"""`make bench-http`: what the HTTP door costs, side by side with what stands behind it, interleaved, medians.

Three parts:

* a raw source of events at 50 tokens/s a stream, direct and through the door: CPU of the door's process a token;
* llama.cpp with a small real model, its own server direct and through the door: tokens/s and TTFT;
* the echo engine as fast as it goes: the ceiling of an engine inside the door's process.

And how soon the door answers. Writes benchmarks/http/results.md.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import uvloop
from processes import ENGINEROOM, free_port, machine, rss_mb, running, status_of, until
from rich.console import Console
from rounds import MEANING, ChatServer, compare, median

HERE = Path(__file__).parent
MESSAGES = [{"role": "user", "content": "Write a long story about a lighthouse keeper and the sea."}]
console = Console()


@contextmanager
def nginx(port: int, source: int) -> Iterator[int | None]:
    """nginx in front of the source, where there is one on this machine; its worker's process."""
    if not (binary := shutil.which("nginx")):
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        text = (HERE / "nginx.conf").read_text().replace("PORT", str(port)).replace("SOURCE", str(source))
        (Path(folder) / "nginx.conf").write_text(text)
        with running([binary, "-p", folder, "-c", "nginx.conf"]) as master:
            until(f"http://127.0.0.1:{port}/health")
            yield int(Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()[0])


async def source_part(rounds: int) -> list[str]:
    port, bare_port, door_port, nginx_port = (free_port() for _ in range(4))
    source_env = {"ENGINE": "source", "PYTHONPATH": str(HERE / "plugin"), "LOG_LEVEL": "WARNING"}
    with (
        running([sys.executable, str(HERE / "source.py"), str(port)]),
        running([sys.executable, str(HERE / "bare_proxy.py"), str(bare_port), str(port)]) as bare,
        running([ENGINEROOM, "serve"], source_env | {"PORT": str(door_port)}) as door,
    ):
        until(f"http://127.0.0.1:{port}/health")
        until(f"http://127.0.0.1:{bare_port}/health")
        until(f"http://127.0.0.1:{door_port}/ping")
        with nginx(nginx_port, port) as nginx_pid:
            targets = {"direct": (ChatServer(port), None)}
            if nginx_pid:
                targets["nginx"] = (ChatServer(nginx_port), nginx_pid)
            targets |= {"bare": (ChatServer(bare_port), bare.pid), "door": (ChatServer(door_port), door.pid)}
            plans = {n: {"model": "source", "messages": MESSAGES, "max_tokens": 200, "rate": 50} for n in (1, 16, 200)}
            results = await compare("raw source, 50 tokens/s a stream", targets, plans, rounds, console)
            first = await compare(
                "first tokens, one at a time", targets, {1: {**plans[1], "max_tokens": 1}}, 20 * rounds, console
            )
        memory = rss_mb(door.pid)
    results |= {(0, name): first_tokens for (_, name), first_tokens in first.items()}
    proxies = [name for name in targets if name != "direct"]
    rows = [
        "### A raw source at 50 tokens/s a stream: what the hop costs",
        "",
        "`bare` is the least a Python proxy can be: a bare ASGI app over aiohttp on the same server. The door speaks",
        "to the source over a Unix socket, as it does to engines that have one; the others over loopback TCP.",
        "",
        f"| streams | TTFT, ms: {' / '.join(targets)} | CPU, µs a token: {' / '.join(proxies)} |",
        "|---|---|---|",
    ]
    for n, label in {0: "1, one token a request", **{n: str(n) for n in plans}}.items():
        ttft = " / ".join(f"{median(results[n, name], 'ttft_ms'):.1f}" for name in targets)
        cpu = " / ".join(f"{median(results[n, name], 'cpu_us'):.1f}" for name in proxies) if n else ""
        rows.append(f"| {label} | {ttft} | {cpu} |")
    return [*rows, "", f"Memory of the door's process after it: {memory:.0f} MB resident."]


async def llamacpp_part(rounds: int) -> list[str]:
    port, door_port = free_port(), free_port()
    env = {"ENGINE": "llamacpp", "PARALLEL": "64", "CTX_SIZE": "16384", "LOG_LEVEL": "WARNING"}
    with running([ENGINEROOM, "serve"], {**env, "PORT": str(door_port)}) as door:
        until(f"http://127.0.0.1:{door_port}/ping")
        with running([sys.executable, str(HERE / "bare_llamacpp.py"), str(port)], env):
            until(f"http://127.0.0.1:{port}/health")
            model = "SmolLM2-135M-Instruct"
            fields = {"model": model, "messages": MESSAGES, "temperature": 0, "ignore_eos": True}
            plans = {
                1: {**fields, "max_tokens": 200},
                16: {**fields, "max_tokens": 60},
                64: {**fields, "max_tokens": 24},
            }
            # Its server gives a connection a thread for as long as it is open, so each round has new ones.
            key = {"Authorization": "Bearer none"}
            targets = {
                "direct": (ChatServer(port, key, keep=False), None),
                "door": (ChatServer(door_port), door.pid),
            }
            results = await compare("llama.cpp", targets, plans, rounds, console)
            memory = rss_mb(door.pid)
    rows = [
        "### llama.cpp with SmolLM2-135M: its own server, and the same through the door",
        "",
        "| streams | tokens/s: direct / door | door / direct | TTFT, ms: direct / door | CPU of the door, µs a token |",
        "|---|---|---|---|---|",
    ]
    for n in plans:
        direct, through = results[n, "direct"], results[n, "door"]
        share = statistics.median(t.rate / d.rate for t, d in zip(through, direct, strict=True))
        rows.append(
            f"| {n} | {median(direct, 'rate'):.0f} / {median(through, 'rate'):.0f} | {100 * share:.1f} % "
            f"| {median(direct, 'ttft_ms'):.1f} / {median(through, 'ttft_ms'):.1f} | {median(through, 'cpu_us'):.1f} |"
        )
    return [*rows, "", f"Memory of the door's process after it: {memory:.0f} MB resident."]


async def echo_part(rounds: int) -> list[str]:
    port = free_port()
    env = {"ENGINE": "echo", "PORT": str(port), "ECHO_TOKENS_PER_S": "20000", "LOG_LEVEL": "WARNING"}
    with running([ENGINEROOM, "serve"], env) as door:
        until(f"http://127.0.0.1:{port}/ping")
        fields = {"model": "echo", "messages": MESSAGES, "ignore_eos": True}
        plans = {
            1: {**fields, "max_tokens": 20000},
            16: {**fields, "max_tokens": 4000},
            64: {**fields, "max_tokens": 1000},
        }
        targets = {"door": (ChatServer(port), door.pid)}
        results = await compare("echo at 20,000 tokens/s", targets, plans, rounds, console)
    rows = [
        "### The echo engine at 20,000 tokens/s a stream: the ceiling of an engine inside the door's process",
        "",
        "| streams | tokens/s | TTFT, ms | CPU, µs a token |",
        "|---|---|---|---|",
    ]
    for n in plans:
        door_results = results[n, "door"]
        rows.append(
            f"| {n} | {median(door_results, 'rate'):,.0f} | {median(door_results, 'ttft_ms'):.1f} "
            f"| {median(door_results, 'cpu_us'):.1f} |"
        )
    return rows


def start_part(rounds: int) -> list[str]:
    """How soon after exec the door answers, and after the engine is ready."""
    ping, ready = [], []
    for _ in range(rounds):
        port = free_port()
        env = {"ENGINE": "llamacpp", "PORT": str(port), "LOG_LEVEL": "WARNING"}
        began = time.perf_counter()
        with running([ENGINEROOM, "serve"], env):
            ping.append(_first_answer(port, began))
            ready.append(until(f"http://127.0.0.1:{port}/health") - began)
    bare = []
    for _ in range(rounds):
        port = free_port()
        began = time.perf_counter()
        with running([sys.executable, str(HERE / "bare_llamacpp.py"), str(port)], {"PARALLEL": "4"}):
            bare.append(until(f"http://127.0.0.1:{port}/health") - began)
    return [
        "### How soon",
        "",
        "| | s after exec, median |",
        "|---|---|",
        f"| `/ping` answers (204) | {statistics.median(ping):.2f} |",
        f"| ready, with llama.cpp | {statistics.median(ready):.2f} |",
        f"| llama.cpp's own server, started bare, ready | {statistics.median(bare):.2f} |",
    ]


def _first_answer(port: int, began: float) -> float:
    while time.perf_counter() < began + 30:
        if status_of(f"http://127.0.0.1:{port}/ping"):
            return time.perf_counter() - began
        time.sleep(0.002)
    raise SystemExit("the door did not answer within 30 s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds of each measurement (3)")
    parser.add_argument("--only", choices=["source", "llamacpp", "echo", "start"], action="append")
    options = parser.parse_args()
    parts = options.only or ["source", "llamacpp", "echo", "start"]
    lines = [
        "# The HTTP door, measured",
        "",
        f"`make bench-http`: {options.rounds} rounds after a warm-up, interleaved, medians; client, door and engine "
        f"share {machine()}. {MEANING}",
    ]
    for name in parts:
        rows = (
            start_part(options.rounds)
            if name == "start"
            else uvloop.run({"source": source_part, "llamacpp": llamacpp_part, "echo": echo_part}[name](options.rounds))
        )
        console.print("\n".join(["", *rows]), markup=False)
        lines += ["", *rows]
    if not options.only:
        (HERE / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
