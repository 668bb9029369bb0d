"""Runs in the Python that has vLLM: each line of standard input is a command line of `vllm serve`, as a JSON list.

For each it prints, as JSON, why vLLM refuses it, or null where vLLM would go on to load the model. That is as far as
its own start goes before it makes an engine: its parser, its checks of what was parsed, its registries, and the making
of its configuration classes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys


def main() -> None:
    out, sys.stdout = sys.stdout, sys.stderr
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_TARGET_DEVICE", "cpu")
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.entrypoints.launchers.launcher import validate_api_server_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    for line in sys.stdin:
        # Each has a parser of its own: vLLM writes into the parser's defaults.
        parser = make_arg_parser(FlexibleArgumentParser())
        error_text = io.StringIO()
        reason = None
        try:
            with contextlib.redirect_stderr(error_text):
                arguments = parser.parse_args(json.loads(line))
                arguments.model = arguments.model_tag
                validate_parsed_serve_args(arguments)
                engine_arguments = AsyncEngineArgs.from_cli_args(arguments)
                validate_api_server_args(arguments)
                engine_arguments.create_engine_config()
        except SystemExit:
            reason = error_text.getvalue().strip().rsplit("error: ", 1)[-1]
        except Exception as error:  # Whatever it is, it is why vLLM would end.
            reason = f"{type(error).__name__}: {error}"
        print(json.dumps(reason), file=out, flush=True)


if __name__ == "__main__":
    main()
