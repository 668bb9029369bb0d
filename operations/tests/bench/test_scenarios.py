"""What is asked: lengths, prompts, files."""

from __future__ import annotations

import itertools
import json
import random
import statistics
from pathlib import Path

import pytest

from engineroom_operations.bench.lengths import Lengths
from engineroom_operations.bench.option_values import body_field, header, rates, stream_counts
from engineroom_operations.bench.scenarios import SCENARIOS, Prompts, Words, from_file


@pytest.mark.parametrize("text", ["1", "256", "64-512", "normal:256,64", "lognormal:150,1", "lognormal:90,1.3,4096"])
def test_lengths_are_written_as_they_are_read(text: str) -> None:
    assert str(Lengths.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "abc", "5-2", "normal:1", "lognormal:0,1", "lognormal:10,9", "1e3", "9999999", "7,8"]
)
def test_lengths_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"token|sigma"):
        Lengths.parse(text)


def test_lengths_have_their_parameters() -> None:
    chance = random.Random(0)

    def draws(text: str) -> list[int]:
        lengths = Lengths.parse(text)
        return [lengths.draw(chance) for _ in range(5000)]

    assert set(draws("64-66")) == {64, 65, 66}
    assert statistics.fmean(draws("normal:256,64")) == pytest.approx(256, rel=0.05)
    conversation = draws("lognormal:90,1.3,4096")
    assert statistics.median(conversation) == pytest.approx(90, rel=0.1)
    assert max(conversation) <= 4096
    assert min(conversation) >= 1


def words_of(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize("name", SCENARIOS)
def test_prompts_have_the_stated_length_begin_differently_and_repeat_for_a_seed(name: str) -> None:
    scenario = SCENARIOS[name]._replace(prefix=0, turns=1, input=Lengths.parse("40"))
    bodies = [ask.body for ask in itertools.islice(Prompts(scenario, "chat", 3).asks(1_000_000), 50)]
    texts = [body["messages"][-1]["content"] for body in bodies]
    assert {words_of(text) for text in texts} == {40}
    assert len({" ".join(text.split()[:4]) for text in texts}) == 50
    again = [ask.body for ask in itertools.islice(Prompts(scenario, "chat", 3).asks(1_000_000), 50)]
    assert bodies == again
    assert bodies != [ask.body for ask in itertools.islice(Prompts(scenario, "chat", 4).asks(1_000_000), 50)]


def test_a_chat_shares_its_prefix_and_has_a_history() -> None:
    asks = list(itertools.islice(Prompts(SCENARIOS["chat"], "chat", 0).asks(), 40))
    prefixes = {ask.body["messages"][0]["content"] for ask in asks}
    assert len(prefixes) == 1
    assert words_of(prefixes.pop()) == 512
    assert {len(ask.body["messages"]) for ask in asks} == {2, 4, 6, 8}
    for ask in asks:
        roles = [message["role"] for message in ask.body["messages"][1:]]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


def test_a_server_s_way_to_count_makes_the_length() -> None:
    scenario = SCENARIOS["short"]._replace(input=Lengths.parse("100"))
    ask = Prompts(scenario, "completions", 0, Words(fixed=10, per_word=1.5)).ask(0)
    assert words_of(ask.body["prompt"]) == 60


def test_embeddings_and_other_names_of_the_limit() -> None:
    assert set(Prompts(SCENARIOS["short"], "embeddings", 0).ask(0).body) == {"input"}
    prompts = Prompts(SCENARIOS["short"], "chat", 0, fields={"temperature": 0}, output_field="max_completion_tokens")
    body = prompts.ask(0).body
    assert (body["max_completion_tokens"], body["temperature"]) == (64, 0)


def test_a_very_long_prompt_goes_round() -> None:
    scenario = SCENARIOS["long"]._replace(input=Lengths.parse("200000"))
    assert words_of(Prompts(scenario, "completions", 0).ask(0).body["prompt"]) == 200_000


def test_a_file_s_own_requests(tmp_path: Path) -> None:
    lines = [
        {"prompt": "hello", "output_tokens": 5},
        {"messages": [{"role": "user", "content": "x"}], "temperature": 1},
        {"input": "embed this"},
    ]
    file = tmp_path / "asks.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    asks = from_file(file, "chat", {"temperature": 0, "ignore_eos": True}, "max_tokens")
    assert [ask.surface for ask in asks] == ["chat", "chat", "embeddings"]
    assert asks[0].body["messages"] == [{"role": "user", "content": "hello"}]
    assert (asks[0].body["max_tokens"], asks[0].body["temperature"], asks[1].body["temperature"]) == (5, 0, 1)
    assert "prompt" not in asks[0].body
    assert from_file(file, "completions", {}, "max_tokens")[0].body == {"prompt": "hello", "max_tokens": 5}


@pytest.mark.parametrize("line", ["nonsense", "[1]", "{}", '{"prompt": 5}', '{"messages": "x"}'])
def test_a_line_that_is_no_request_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "asks.jsonl"
    file.write_text('{"prompt": "a"}\n' + line + "\n")
    with pytest.raises(ValueError, match="line 2"):
        from_file(file, "chat", {}, "max_tokens")
    file.write_text("\n\n")
    with pytest.raises(ValueError, match="no requests"):
        from_file(file, "chat", {}, "max_tokens")


def test_option_values() -> None:
    assert stream_counts("16") == (16,)
    assert stream_counts("4, 1,4") == (1, 4)
    assert stream_counts("1-64") == (1, 2, 4, 8, 16, 32, 64)
    assert stream_counts("3-10") == (3, 6, 10)
    assert rates("2,0.5") == (0.5, 2)
    assert body_field("temperature=0") == ("temperature", 0)
    assert body_field("stop=a=b") == ("stop", "a=b")
    assert header("X-A: b: c") == ("X-A", "b: c")


@pytest.mark.parametrize("text", ["", "0", "a", "1-", "-1", "9-2", "1,,2", "100000", "1.5", "²"])
def test_wrong_streams(text: str) -> None:
    with pytest.raises(ValueError, match=r"stream|numbers"):
        stream_counts(text)


@pytest.mark.parametrize("text", ["", "0", "x", "-1", "1,", "nan", "inf"])
def test_wrong_rates(text: str) -> None:
    with pytest.raises(ValueError, match="requests a second"):
        rates(text)


@pytest.mark.parametrize("text", ["", "a", "=1"])
def test_wrong_fields_and_headers(text: str) -> None:
    with pytest.raises(ValueError, match="write name=value"):
        body_field(text)
    with pytest.raises(ValueError, match="write 'Name: value'"):
        header(text)
