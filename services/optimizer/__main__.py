"""Runs the optimizer: `python -m services.optimizer`."""

from __future__ import annotations

from services.kernel.server import run
from services.optimizer.bootstrap import serve
from services.optimizer.settings import OptimizerSettings

if __name__ == "__main__":
    run(serve(OptimizerSettings()))
