"""Grammars and schemas that would keep llama.cpp from everybody: which those are, and that nobody waits for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engineroom.errors import APIError
from engineroom.testing import Target
from engineroom_llamacpp.grammar import count_ways
from engineroom_llamacpp.requests import prepare

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "Answer."}]
JSON = r"""
root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws # escapes
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""
ARITHMETIC = r"""
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"""
CHESS = r"""
root ::= "1. " move " " move "\n" ([1-9] [0-9]? ". " move " " move "\n")+
move ::= (pawn | nonpawn | castle) [+#]?
nonpawn ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]
pawn ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?
castle ::= "O-O" "-O"?
"""


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= "yes" | "no"',
        'root ::= item+\nitem ::= "- " [^\\n]+ "\\n"',
        'root ::= [a-z]{1,200} (" " [a-z]{1,20}){0,10}',
        'root ::= "(" root ")" | [a-z]+',
        'root ::= "a" root | "b" root |',
        JSON,
        ARITHMETIC,
        CHESS,
    ],
)
def test_grammars_that_people_write_have_few_ways(grammar: str) -> None:
    assert count_ways(grammar) <= 200


@pytest.mark.parametrize(
    "grammar",
    [
        "root ::= " + " | ".join(f'"the same words and {n}"' for n in range(500)),
        'root ::= "x" root "y" | "x" root "z" | ""',
        'root ::= a | b\na ::= "x" root\nb ::= [w-z] root',
        'root ::= "x" root? root? "z"',
        'root ::= ("x" root)*',
        'root ::= "<" word ">" root*\nword ::= [a-z]+',
        'root ::= ("x" other)*\nother ::= "y" root',
        'root ::= term "+" root | term\nterm ::= "(" root ")" | [0-9]+',
        "root ::= " + "(" * 9 + "[a-z]" + "?){9}" * 9,
        "root ::= (.{0,50}){0,50}",
        "root ::= ([a-z]{0,20}){0,20}",
        "root ::= " + "[a-z]{0,20} " * 20,
        "root ::= ([a-z]* [ ]?){20}",
        "root ::= (a | b?){20}\na ::= [a-z]? [0-9]?\nb ::= [A-Z]",
        "root ::= (.{0, 50}){0, # }\n 50 }",
        "root ::= [" + "abcdefgh" * 600 + "]",
        "root ::= r0\n" + "\n".join(f"r{n} ::= r{n + 1} | r{n + 1}" for n in range(30)) + '\nr30 ::= "a"',
        "root ::= r0\n" + "\n".join(f"r{n} ::= r{n + 1}? r{n + 1}?" for n in range(30)) + '\nr30 ::= "a"',
        "root ::= r0\n" + "\n".join(f'r{n} ::= "a" r{n + 1}' for n in range(500)) + '\nr500 ::= "a"',
        "(" * 5_000,
    ],
)
def test_grammars_that_multiply_have_many(grammar: str) -> None:
    assert count_ways(grammar) > 256 or "::=" not in grammar


def of_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


DOUBLING = {
    **{f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)},
    "d40": {"type": "string"},
}
NODE = {"type": "object", "properties": {"a": {"$ref": "#/$defs/node"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("path", "asked", "param"),
    [
        (CHAT, of_schema({"enum": [f"value {n}" for n in range(5_000)]}), "response_format.json_schema.schema"),
        (CHAT, of_schema({"$ref": "#/$defs/d0", "$defs": DOUBLING}), "response_format.json_schema.schema"),
        (
            CHAT,
            of_schema({"$ref": "#/$defs/node", "$defs": {"node": {"anyOf": [NODE, NODE]}}}),
            "response_format.json_schema.schema",
        ),
        (CHAT, of_schema({"type": "string", "pattern": "^(a?){200}$"}), "response_format.json_schema.schema"),
        (CHAT, of_schema({"type": "string", "pattern": "^([a-z]{0,20}){0,20}$"}), "response_format.json_schema.schema"),
        (CHAT, {"grammar": 'root ::= "x" root "y" | "x" root "z" | ""'}, "grammar"),
        (COMPLETIONS, {"grammar": "root ::= (.{0,99}){0,99}"}, "grammar"),
        (CHAT, {"grammar": '%llguidance {}\nstart: %json {"enum": [1, 2]}'}, "grammar"),
        ("/infill", {"grammar": "root ::= (.{0,99}){0,99}", "input_prefix": "a", "input_suffix": "b"}, "grammar"),
        (COMPLETIONS, {"json_schema": {"enum": list(range(5_000))}}, "json_schema"),
        (CHAT, {"dry_multiplier": 1, "dry_sequence_breakers": ["a"] * 500}, "dry_sequence_breakers"),
        (CHAT, {"n": 100}, "n"),
        (CHAT, {"n": 8, **of_schema({"enum": list(range(60))})}, "response_format.json_schema.schema"),
        (CHAT, {"n": 8, "grammar": "root ::= " + " | ".join(f'"{n}"' for n in range(60))}, "grammar"),
        (CHAT, {"n": 8, "dry_multiplier": 1}, "dry_multiplier"),
        (CHAT, {"dry_multiplier": 1, "dry_sequence_breakers": ["a" * 40] * 9}, "dry_multiplier"),
        (CHAT, {"repeat_penalty": 1.1, "repeat_last_n": 2**31 - 1}, "repeat_last_n"),
        (COMPLETIONS, {"dry_multiplier": 0.5, "dry_penalty_last_n": 2**31 - 1}, "dry_penalty_last_n"),
        (CHAT, {"samplers": "k" * 5_000}, "samplers"),
        (CHAT, {"chat_template_kwargs": {"a": "b" * 1_100_000}}, "chat_template_kwargs"),
    ],
)
async def test_a_request_that_would_keep_the_engine_from_others_is_refused(
    target: Target, path: str, asked: dict[str, Any], param: str
) -> None:
    prompt = {"messages": MESSAGES} if path == CHAT else {"prompt": "a"}
    status, answer = await target.post(path, {**prompt, "max_tokens": 30, **asked})
    assert (status, answer["error"]["param"]) == (400, param), answer
    assert answer["error"]["code"] == "request_limit_exceeded"


@pytest.mark.parametrize("choice", ["required", "auto"])
def test_each_choice_is_on_the_ways_of_all_tools(choice: str) -> None:
    tools = [{"type": "function", "function": {"name": f"tool_{n}"}} for n in range(100)]
    asked = {"messages": MESSAGES, "tools": tools, "tool_choice": choice}
    prepare(CHAT, {**asked, "n": 2}, max_ways=256)
    prepare(CHAT, {**asked, "n": 3})
    with pytest.raises(APIError, match="tools times choices") as caught:
        prepare(CHAT, {**asked, "n": 3}, max_ways=256)
    assert caught.value.param == "tools"


WAYS = 250
ALIKE = [f"all values begin with these same words and {n}" for n in range(WAYS)]


@pytest.mark.parametrize(
    "asked",
    [
        of_schema({"enum": ALIKE}),
        of_schema({"type": "object", "properties": {f"p{n}": {"enum": ALIKE} for n in range(7)}}),
        {"grammar": "root ::= " + " | ".join(f'"{text}"' for text in ALIKE)},
    ],
    ids=["enum", "all at once", "grammar"],
)
async def test_others_are_answered_while_a_request_at_the_limits_runs(target: Target, asked: dict[str, Any]) -> None:
    slow = asyncio.ensure_future(target.post(CHAT, {"messages": MESSAGES, "max_tokens": 400, **asked}))
    await asyncio.sleep(0)
    status, answer = await target.post(CHAT, {"messages": MESSAGES, "max_tokens": 1})
    assert status == 200, answer
    assert not slow.done()
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    # Also after its client has gone.
    status, answer = await target.post(CHAT, {"messages": MESSAGES, "max_tokens": 1})
    assert status == 200, answer
