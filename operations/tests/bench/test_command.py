"""`engineroom bench` as its users run it: a real process against a server with known latencies."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import signal
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from prepared_python import engineroom
from rich.console import Console
from standin_chat import StandinChat, StandinExchange, paced
from terminal import Terminal

from engineroom_operations.bench.figures import Distribution
from engineroom_operations.bench.reports.files import read
from engineroom_operations.bench.reports.terminal import show
from engineroom_workers.testing import COMMAND

pytestmark = pytest.mark.anyio

QUICK = ["--ramp", "0", "--warm-up", "0", "-s", "short"]


class Ended(NamedTuple):
    code: int
    out: str
    err: str


async def start(*arguments: str | Path, **env: str) -> Process:
    command = [COMMAND, "bench", *map(str, arguments)]
    return await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=PIPE, env={**os.environ, "OPENAI_API_KEY": "", **env}
    )


async def ended(process: Process) -> Ended:
    out, err = await asyncio.wait_for(process.communicate(), 120)
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def bench(*arguments: str | Path, **env: str) -> Ended:
    environ = {**os.environ, "OPENAI_API_KEY": "", **env}
    done = await asyncio.to_thread(engineroom, "bench", *map(str, arguments), environ=environ)
    return Ended(done.returncode, done.stdout, done.stderr)


async def test_a_sweep_with_all_reports_and_a_comparison(tmp_path: Path) -> None:
    async with StandinChat(paced(0.02, 0.002)) as server:
        files = [tmp_path / "new" / f"r.{ending}" for ending in ("json", "csv", "md", "html")]
        options = ["--json", files[0], "--csv", files[1], "--markdown", files[2], "--html", files[3]]
        options += ["-c", "1,4", "-n", "8", "--slo-ttft", "60000", "-f", "temperature=0", "-H", "X-Team: load"]
        result = await bench(server.url, *options, "-s", "short", "--ramp", "0", OPENAI_API_KEY="sk-1")
        again = await bench(f"{server.url}/v1/chat/completions", *QUICK, "-c", "4", "-n", "8", "--json", tmp_path / "b")
        other = await bench(server.url.removeprefix("http://"), *QUICK, "-c", "1", "-n", "1")
    assert (result.code, again.code, other.code) == (0, 0, 0), result
    report = json.loads(files[0].read_text())
    assert [stage["label"] for stage in report["stages"]] == ["1 stream", "4 streams"]
    for stage in report["stages"]:
        assert (stage["requests"], stage["succeeded"], stage["failed"], stage["met"]) == (8, 8, 0, True)
        assert stage["tokens_out"] == 8 * 64
        assert (stage["tokens_by_usage"], stage["tokens_by_events"]) == (8, 0)
        assert stage["ttft"]["count"] == 8
        assert stage["ttft"]["min"] >= 20
        assert stage["token"]["mean"] >= 1.9
        assert stage["inter_token"]["count"] == 8 * 63
        order = [stage["ttft"][name] for name in ("min", "median", "p90", "p95", "p99", "max")]
        assert order == sorted(order)
        assert sum(one["requests"] for one in stage["slices"]) == 8
        assert sum(bar["count"] for bar in stage["ttft_bars"]) == 8
    asked = [one for one in server.requests if one.method == "POST"][:4]
    assert all(one.headers["authorization"] == "Bearer sk-1" for one in asked)
    assert all(one.headers["x-team"] == "load" for one in asked)
    assert all(one.body["temperature"] == 0 for one in asked)
    assert all(one.body["ignore_eos"] is True for one in asked)
    assert "sk-1" not in result.out + result.err + "".join(file.read_text() for file in files)
    rows = list(csv.DictReader(files[1].read_text().splitlines()))
    assert [row["label"] for row in rows] == ["1 stream", "4 streams"]
    assert float(rows[1]["ttft_p99_ms"]) == pytest.approx(report["stages"][1]["ttft"]["p99"], abs=0.001)
    assert "| 4 streams | 8 | 100 % |" in files[2].read_text()
    page = files[3].read_text()
    assert page.count("<svg") >= 8
    assert not re.search(r"<script|src=|href=|@import|url\(", page)
    # What the figures are depends on the machine; what is made of which, test_verdict.py proves.
    verdict = [advice["limit"][:12] for advice in report["verdict"]]
    assert verdict
    for words in ("time to first token", "4 streams", "Tokens are counted by the server", *verdict):
        assert words in result.out, result.out

    for width in (60, 80, 120, 200):
        wide = as_shown(files[0], width)
        assert "…" not in wide
        assert "427s" in wide if width < 140 else "426,700" in wide

    comparison = await bench("--compare", files[0], tmp_path / "b")
    assert comparison.code == 0
    assert "tokens/s out" in comparison.out
    assert "Only one of the runs has: 1 stream" in comparison.out
    broken = await bench("--compare", files[1], tmp_path / "b")
    assert (broken.code, broken.out) == (1, "")
    assert "is no report" in broken.err


def as_shown(file: Path, width: int) -> str:
    """A report as a terminal of that width has it, with answers that took minutes."""
    report = read(file)
    long = Distribution(8, 41_280, 46_803, 45_886, 64_240, 78_007, 142_247, 426_700, 13_766)
    stages = [msgspec.structs.replace(stage, end_to_end=long) for stage in report.stages]
    written = io.StringIO()
    show(msgspec.structs.replace(report, stages=stages, best="4 streams"), Console(width=width, file=written))
    text = written.getvalue()
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    return text


async def test_ctrl_c_leaves_a_report_of_what_was_measured(tmp_path: Path) -> None:
    answered = 0
    enough = asyncio.Event()
    answer = paced()

    async def handle(exchange: StandinExchange) -> None:
        nonlocal answered
        if answered == 20 and exchange.method == "POST":
            enough.set()
            await asyncio.sleep(60)
        answered += exchange.method == "POST"
        await answer(exchange)

    async with StandinChat(handle) as server:
        process = await start(server.url, *QUICK, "-c", "3", "-d", "600", "--json", tmp_path / "r.json")
        await asyncio.wait_for(enough.wait(), 60)
        await asyncio.sleep(0.1)
        process.send_signal(signal.SIGINT)
        result = await ended(process)
    assert result.code == 130
    assert "Stopped before its end" in result.out
    assert "Traceback" not in result.err
    report = json.loads((tmp_path / "r.json").read_text())
    stage = report["stages"][0]
    assert report["interrupted"] is True
    # Two of those answered were probes.
    assert (stage["requests"], stage["succeeded"], stage["given_up"]) == (18, 18, 3)


async def test_on_a_terminal_a_line_says_how_far_it_is_and_ctrl_c_ends_it() -> None:
    async with StandinChat(paced(0.01, 0.002)) as server:

        def watch() -> int:
            command = [COMMAND, "bench", server.url, *QUICK, "-c", "2", "-d", "600"]
            with Terminal(command, {**os.environ, "OPENAI_API_KEY": ""}, columns=80, lines=40) as terminal:
                terminal.until("s of 600 s, ")
                terminal.until("2 under way")
                terminal.type("\x03")
                terminal.until("Stopped before its end")
                return terminal.ended()

        assert await asyncio.to_thread(watch) == 130


async def test_whole_answers_have_no_first_token(tmp_path: Path) -> None:
    """They are there at once, whenever their first token was made."""
    async with StandinChat(paced(0.02, 0)) as server:
        result = await bench(server.url, *QUICK, "--no-stream", "-c", "2", "-n", "4", "--json", tmp_path / "r.json")
    assert result.code == 0, result
    (stage,) = json.loads((tmp_path / "r.json").read_text())["stages"]
    assert (stage["ttft"]["count"], stage["end_to_end"]["count"], stage["tokens_out"]) == (0, 4, 4 * 64)
    assert sum(one["tokens_per_s"] for one in stage["slices"]) > 0
    assert "time to first token" not in result.out
    assert "answer P50" in result.err


async def refuse(exchange: StandinExchange, status: int, message: str) -> None:
    await exchange.reply(status, {"error": {"message": message}})


async def test_a_run_that_never_worked_says_why() -> None:
    async with StandinChat(lambda exchange: refuse(exchange, 401, "no such key")) as server:
        unauthorised = await bench(server.url, *QUICK)
        missing = await bench(server.url, *QUICK, "-m", "mine")
        port = server.port
    refused = await bench(f"127.0.0.1:{port}", *QUICK)
    for result in (unauthorised, missing, refused):
        assert result.code == 1
        assert result.out == ""
        assert "Traceback" not in result.err
    assert "no such key; give the key with --api-key or OPENAI_API_KEY" in unauthorised.err
    assert "Connection refused; is the server running" in refused.err


async def test_errors_are_counted_by_kind_with_a_remedy() -> None:
    """After the two probes every third request is answered."""
    answer = paced()
    asked = 0

    async def handle(exchange: StandinExchange) -> None:
        nonlocal asked
        asked += exchange.method == "POST"
        if exchange.method == "GET" or asked <= 2 or asked % 3 == 0:
            await answer(exchange)
        elif asked % 3 == 1:
            await refuse(exchange, 429, "slow down")
        else:
            await exchange.begin_stream()
            exchange.hang_up()

    async with StandinChat(handle) as server:
        result = await bench(server.url, *QUICK, "-r", "200", "-n", "30", "--arrivals", "regular")
    assert result.code == 0
    assert "10 failed: rate limited (429)  “slow down”; the server limits this key" in result.out
    assert "10 failed: cut off" in result.out
    assert "20 of 30 requests failed at 200/s" in result.out


async def test_a_run_whose_requests_all_fail_ends_and_says_so() -> None:
    """After the two probes nothing is answered any more."""
    answer = paced()
    asked = 0

    async def handle(exchange: StandinExchange) -> None:
        nonlocal asked
        asked += exchange.method == "POST"
        await (answer(exchange) if exchange.method == "GET" or asked <= 2 else refuse(exchange, 500, "broken"))

    async with StandinChat(handle) as server:
        result = await bench(server.url, *QUICK, "-r", "500,1000", "-d", "60")
    assert result.code == 1
    assert "At 500/s no request succeeded, so that the run ended there." in result.out
    assert "1000/s" not in result.out
    assert 50 <= asked < 1000


async def test_a_server_that_takes_less_is_asked_for_less() -> None:
    answer = paced()

    async def handle(exchange: StandinExchange) -> None:
        if exchange.method == "POST":
            for field in ("ignore_eos", "stream_options", "max_tokens"):
                if field in exchange.body:
                    await refuse(exchange, 400, f"Unrecognized request argument supplied: {field}")
                    return
        await answer(exchange)

    async with StandinChat(handle) as server:
        result = await bench(server.url, *QUICK, "-c", "1", "-n", "2", "--output-tokens", "5")
        body = server.requests[-1].body
    assert result.code == 0, result
    assert set(body) == {"model", "messages", "max_completion_tokens", "stream"}
    assert "does not take ignore_eos" in result.out
    assert "tokens are counted as events" in result.out


async def test_the_search_says_what_it_tried_and_that_nothing_kept_the_objectives() -> None:
    async with StandinChat() as server:
        options = ["--search", "--search-from", "400", "-d", "0.1", "--slo-ttft", "0.001", "--output-tokens", "2"]
        result = await bench(server.url, *QUICK, *options)
    assert result.code == 0
    assert "400/s" in result.out
    assert "No rate had P99 TTFT ≤ 0.001 ms" in result.out, result


@pytest.mark.parametrize(("hard", "code"), [(2000, 0), (50, 1)])
async def test_more_connections_than_a_shell_lets_a_program_have(hard: int, code: int) -> None:
    """What its user may have it takes; what nobody may have is said to be this machine's limit, not the server's."""
    async with StandinChat(paced(0.5, 0)) as server:
        command = f"ulimit -Sn 50; ulimit -Hn {hard}; exec {COMMAND} bench {server.url} {' '.join(QUICK)} -c 100 -n 100"
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", command, stdout=PIPE, stderr=PIPE, env={**os.environ, "OPENAI_API_KEY": ""}
        )
        result = await ended(process)
    assert result.code == code, result
    assert ("raise the limit of open files (ulimit -n)" in result.out + result.err) == (code == 1)


def usage_errors() -> list[tuple[list[str], str]]:
    return [
        ([], "name the server's URL"),
        (["http://x", "-c", "1", "-r", "1"], "give one of them"),
        (["http://x", "--search", "-c", "1"], "leave --concurrency and --rate out"),
        (["http://x", "-c", "0"], "from 1 to 10,000 streams"),
        (["http://x", "-s", "novel"], "there are short, medium, long, chat, sharegpt-like"),
        (["http://x", "--arrivals", "burst:0"], "burst:N"),
        (["ftp://x"], "not the URL of an HTTP server"),
        (["http://x", "--input-tokens", "many"], "no length in tokens"),
        (["http://x", "--json", "/proc/no/such"], "cannot be written"),
        (["http://x", "-H", "nothing"], "write 'Name: value'"),
        (["http://x", "--no-stream", "--search"], "leave --no-stream"),
        (["http://x", "--no-stream", "--slo-ttft", "100"], "leave --no-stream"),
        (["http://x", "--via", "runsync", "--slo-tokens", "20"], "leave --no-stream"),
    ]


@pytest.mark.parametrize(("arguments", "words"), usage_errors())
def test_wrong_options(arguments: list[str], words: str) -> None:
    from click.testing import CliRunner

    from engineroom_operations.bench.command import bench as command

    result: Any = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2, result
    assert words in " ".join(result.output.split())
