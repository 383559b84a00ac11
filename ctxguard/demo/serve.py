"""The child process that serves the small model; `server.py` starts and ends it.

It ends by itself, and takes its folder along, when its standard input closes: it cannot outlive
the process that started it, whatever that process died of.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Serve until standard input closes; write the server's URL to the folder's `address` first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="a GGUF file")
    parser.add_argument("--folder", required=True, type=Path, help="a folder of its own")
    parser.add_argument("--window", required=True, type=int, help="tokens")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent acts

    xllamacpp: Any = importlib.import_module("xllamacpp")  # compiled, without type information
    parameters = xllamacpp.CommonParams()
    parameters.model.path = options.model
    parameters.n_ctx = options.window
    parameters.n_parallel = 1
    parameters.n_threads_http = 2
    parameters.port = 0  # any free one; the address says which
    parameters.ui = False
    # One thread: with more, workers spin while they wait, and anything else that runs on a small
    # machine makes the model slower by one or two orders of magnitude.
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    # Plain and guarded prompts begin alike. Without any prompt cache neither profits from having
    # been asked second.
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    server = xllamacpp.Server(parameters)  # returns when the model is loaded
    unfinished = options.folder / "address.part"
    unfinished.write_text(server.listening_address, encoding="utf-8")
    unfinished.replace(options.folder / "address")
    sys.stdin.buffer.read()
    shutil.rmtree(options.folder, ignore_errors=True)
    os._exit(0)  # at once: an answer in progress has no reader any more


if __name__ == "__main__":
    main()
