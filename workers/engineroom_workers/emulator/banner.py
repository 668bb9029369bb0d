"""The text that `engineroom emulate` prints when it starts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from click import style

from .faults import Faults
from .options import EndpointOptions
from .worker_environment import OFF_PLATFORM, worker_environment


def banner(url: str, options: EndpointOptions, faults: Faults, command: Sequence[str], workers: int) -> str:
    """The endpoint's addresses, examples to paste, and the variables for a worker if the emulator starts none."""
    endpoint = f"{url}/v2/{options.endpoint_id}"
    openai = f"{endpoint}/openai/v1"
    key = options.api_key or "any"
    authorization = f" -H 'Authorization: Bearer {key}'" if options.api_key else ""
    injected = ", ".join(f"{name} {value:g}" for name, value in faults.as_dict().items() if value)
    lines = [
        f"{style('engineroom emulate', bold=True)}  RunPod's platform, on this machine",
        "",
        _row("endpoint", endpoint) + _dim("  /run /runsync /status /stream /cancel /health ..."),
        _row("OpenAI", openai),
        _row("RunPod SDK", f"RUNPOD_ENDPOINT_BASE_URL={url}/v2") + _dim("  for runpod.Endpoint"),
        _row("management", f"RUNPOD_API_URL={url}") + _dim(f"  for `engineroom deploy`, with RUNPOD_API_KEY={key}"),
        _row("pods", f"RUNPOD_PROXY_URL='{url}/proxy/{{id}}/{{port}}'"),
        _row("statistics", f"{url}/emulator/stats"),
        _row("faults", f"{url}/emulator/faults") + _dim(f"  {injected or 'none injected'}; POST to change them"),
        "",
        _dim("  # try it"),
        f"  curl {endpoint}/runsync{authorization} \\",
        """    -H 'Content-Type: application/json' -d '{"input": {"prompt": "Once upon a time"}}'""",
        "",
        _dim("  # or in Python"),
        "  from openai import OpenAI",
        f'  client = OpenAI(base_url="{openai}", api_key="{key}")',
        "  model = client.models.list().data[0].id",
        '  messages = [{"role": "user", "content": "Hello!"}]',
        "  for chunk in client.chat.completions.create(model=model, messages=messages, stream=True):",
        '      print(chunk.choices[0].delta.content or "", end="", flush=True)',
        "",
    ]
    if command:
        many = f"{workers} x " if workers > 1 else ""
        lines.append(f"  {many}{style(shlex.join(command), bold=True)} is starting; Ctrl-C ends everything.")
    else:
        lines.append(_dim("  # no worker yet: start one where these are set"))
        variables = {**OFF_PLATFORM, **worker_environment(url, options)}
        lines += [f"  export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*lines, ""])


def _row(name: str, value: str) -> str:
    return f"  {name:<11} {style(value, fg='cyan')}"


def _dim(text: str) -> str:
    return style(text, dim=True)
