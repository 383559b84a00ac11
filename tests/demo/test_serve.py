from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ctxguard.demo.serve import main


def test_serves_on_one_thread_without_a_cache_until_its_input_closes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[Any] = []

    def server(parameters: Any) -> SimpleNamespace:
        started.append(parameters)
        return SimpleNamespace(listening_address="http://127.0.0.1:1")

    def parameters() -> SimpleNamespace:
        return SimpleNamespace(
            model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace()
        )

    fake = ModuleType("xllamacpp")
    fake.__dict__.update(CommonParams=parameters, Server=server)
    monkeypatch.setitem(sys.modules, "xllamacpp", fake)
    folder = tmp_path / "folder"
    folder.mkdir()
    addresses: list[str] = []

    def read() -> None:
        addresses.append((folder / "address").read_text())

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(read=read)))
    monkeypatch.setattr(os, "_exit", sys.exit)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as caught:
            main(["--model", "m.gguf", "--folder", str(folder), "--window", "512"])
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, handler)
    assert caught.value.code == 0
    assert addresses == ["http://127.0.0.1:1"]
    assert not folder.exists()
    (used,) = started
    assert (used.model.path, used.n_ctx, used.port) == ("m.gguf", 512, 0)
    assert (used.cpuparams.n_threads, used.cpuparams_batch.n_threads) == (1, 1)
    assert (used.cache_prompt, used.cache_ram_mib) == (False, 0)
