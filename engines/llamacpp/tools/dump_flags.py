"""Print the flags of llama.cpp's server as JSON, for engineroom_llamacpp/flags.json.

    python tools/dump_flags.py                        asked of the parser inside the installed xllamacpp
    python tools/dump_flags.py --llama-server PATH    asked of a binary, e.g. to see what another version has

The help text is the only description that llama.cpp's parser gives of itself: words, ranges and defaults are read
from it, and its beginning is kept. Left out are the flags that are not the user's to set here: see OURS.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

OURS = re.compile(
    # It would not serve.
    r"(help|version|completion-bash|cache-list|list-devices|fit-print|fit-estimate|log-disable|log-file|"
    # The door's.
    r"host|port|reuse-port|path|api-prefix|api-key.*|ssl-.*|cors-.*|timeout|sse-ping-interval|threads-http|"
    # Ours to decide.
    r"metrics|props|slots|ui.*|tools.*|mcp-.*|agent|sleep-idle-seconds|"
    # MODEL_NAME's.
    r"model|model-url|docker-repo|hf-repo|hf-file|hf-token|alias|tags|mmproj-url|models-.*|offline|"
    # Other programs'.
    r"reverse-prompt|verbose|log-verbose|special|escape|lookup-cache-.*|"
    # Fixed models from the network; of no effect; for benchmarks.
    r".*-default|fim-.*|defrag-thold|spec-synth-.*)$"
)

_ENTRY = re.compile(r"^(?P<names>-[^\n]*?)(?:(?:\s{2,}|\n)\s*(?P<rest>.*))?$", re.DOTALL)
_FLOATS = re.compile(r"rope-(scale|freq-base|freq-scale)|yarn-(?!orig)|video-fps|-p-(min|split)$")
_TEXTS = {"n-gpu-layers", "n-gpu-layers-draft"}
_DEFAULT = re.compile(r"\bdefault: '?([\w.+-]+)'?[,)]")
_LISTED = re.compile(r"^\s*- ([\w+-]+):", re.MULTILINE)
"""One of the words of a flag, each on a line of its own with what it means."""

HELP_LENGTH = 300


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--llama-server")
    binary = options.parse_args().llama_server
    own = [sys.executable, str(Path(__file__).with_name("real_parser.py")), "help"]
    text = subprocess.run([binary, "--help"] if binary else own, capture_output=True, text=True, check=True).stdout
    rows = sorted(filter(None, map(row, entries(text))), key=lambda flag: str(flag["name"]))
    aliases = {alias: str(flag["name"]).upper() for flag in rows for alias in flag.pop("spellings")}
    names = {str(flag["name"]).upper() for flag in rows}
    print(f'{{"engine": "llama.cpp", "version": "{version(binary)}", "flags": [')
    print(",\n".join(json.dumps(flag) for flag in rows))
    print('], "aliases": {')
    print(",\n".join(f'"{a}": "{name}"' for a, name in sorted(aliases.items()) if a not in names))
    print("}}")
    return 0


def version(binary: str | None) -> str:
    if binary:
        shown = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
        return (shown.stdout + shown.stderr).splitlines()[0].removeprefix("version: ")
    import xllamacpp

    return f"b{xllamacpp.__version__.rsplit('.', 1)[1]}"


def entries(text: str) -> list[str]:
    """The help of each flag: a line that begins with a dash, and the indented ones after it."""
    return re.findall(r"^-(?!----).*\n(?:[ \t]+.*\n|\n(?=[ \t]))*", text, re.MULTILINE)


def row(entry: str) -> dict[str, Any] | None:
    """One flag; None where it is not to be a setting."""
    match = _ENTRY.match(re.sub(r",[ ]+-", ", -", entry))
    assert match, entry
    rest = " ".join((match["rest"] or "").split())
    *_, hint = re.split(r",\s+", match["names"])
    flags = re.findall(r"(?:^|[\s,])(--?[A-Za-z][\w.-]*)", match["names"])
    hint = hint.split(maxsplit=1)[1] if " " in hint.strip() else ""
    long = [flag[2:] for flag in flags if flag.startswith("--")]
    positive = [name for name in long if not name.startswith("no-")] or long
    env = re.search(r"\(env: LLAMA_ARG_(\w+)\)", rest)
    canonical = next((n for n in positive if env and n.upper().replace("-", "_") == env[1]), positive[-1])
    if any(OURS.match(name) for name in positive) or "argument has been removed" in rest:
        return None
    negative = next((f"--{name}" for name in long if name.startswith("no-")), None) if positive != long else None
    choices = _choices(hint, rest) or (_LISTED.findall(entry) if hint in ("MODE", "TYPE") else None)
    kind = _kind(canonical, hint, rest, choices, negative)
    parsed: dict[str, Any] = {
        "name": canonical.replace("-", "_"),
        "flags": [f"--{canonical}"],
        "kind": kind,
    }
    spellings = [name.upper().replace("-", "_") for name in positive if name != canonical]
    parsed["spellings"] = ([f"LLAMA_ARG_{env[1]}"] if env else []) + [name for name in spellings if "_" in name]
    facts = {
        "choices": choices or None,
        "negative": negative,
        **_range(hint),
        "default": _default(rest, kind, choices),
        "help": _help(rest),
    }
    return parsed | {name: value for name, value in facts.items() if value is not None}


def _range(hint: str) -> dict[str, int]:
    """The range in a hint such as `<0...100>`."""
    ends = re.fullmatch(r"<(-?\d+)(?:\.\.\.|\|)(-?\d+)>", hint)
    return {"ge": int(ends[1]), "le": int(ends[2])} if ends else {}


def _default(rest: str, kind: str, choices: list[str] | None) -> str | None:
    """The default as a setting would carry it; None where it is none of the values, as `same as --threads`."""
    match = _DEFAULT.search(rest)
    if match is None:
        return None
    word = {"enabled": "true", "disabled": "false"}.get(match[1], match[1])
    fits = {
        "bool": word in ("true", "false"),
        "switch": word in ("true", "false"),
        "int": re.fullmatch(r"-?\d+", word) is not None,
        "float": re.fullmatch(r"-?\d+(\.\d+)?", word) is not None,
        "choice": word in (choices or ()),
        "str": word not in ("disabled", "false", "none", "unused"),
    }
    return word if fits[kind] else None


def _help(rest: str) -> str:
    """The beginning of its help, on one line, without the variables of llama.cpp's own."""
    text = re.sub(r"\s*\(env: \w+\)|\s*allowed values: [\w, ]+(?= \()|\s*\[?\[?\(more info\)\]\S*", "", rest).strip()
    text = text[:1].upper() + text[1:]
    return text if len(text) <= HELP_LENGTH else text[: HELP_LENGTH - 2].rsplit(" ", 1)[0] + " …"


def _choices(hint: str, rest: str) -> list[str] | None:
    if match := re.fullmatch(r"\{(.*)\}|\[([a-z|]+)\]", hint):
        return re.split(r"[,|]", match[1] or match[2])
    if match := re.search(r"allowed values: ([\w, ]+) \(", rest):
        return match[1].split(", ")
    return None


def _kind(name: str, hint: str, rest: str, choices: list[str] | None, negative: str | None) -> str:
    if choices:
        return "choice"
    if not hint:
        return "bool" if negative else "switch"
    if hint in ("<0|1>", "<0...100>", "INDEX", "SEED"):
        return "int"
    if name in _TEXTS or hint not in ("N", "P", "L", "SIMILARITY"):
        return "str"
    return "float" if _FLOATS.search(name) or re.search(r"default: -?\d+\.\d", rest) else "int"


if __name__ == "__main__":
    sys.exit(main())
