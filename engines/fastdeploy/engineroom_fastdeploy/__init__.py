"""FastDeploy (PaddlePaddle) as an engineroom engine: its own server process, in its own Python."""

from .engine import FastDeployEngine

__all__ = ["FastDeployEngine"]
