"""Where FastDeploy keeps its parser."""

from __future__ import annotations

import argparse

from fastdeploy.utils import add_flags


def make_arg_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    return add_flags(parser)
