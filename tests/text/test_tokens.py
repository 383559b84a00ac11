"""Tokenizers: exact ones found without the network, an estimate that is never too low."""

# ruff: noqa: RUF001 -- typographic and foreign characters are what these tests are about

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import unicodedata
import warnings
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load
from hypothesis import given, settings, strategies as st

from ctxguard.text import tokens
from ctxguard.text.tokens import (
    EstimateTokenizer,
    TiktokenTokenizer,
    TokenizerWarning,
    tokenizer_for,
)

ENCODINGS = [tokenizer_for("o200k_base"), tokenizer_for("cl100k_base")]

TEXTS = {
    "english": "All human beings are born free and equal in dignity and rights. They are endowed "
    "with reason and conscience and should act towards one another in a spirit of brotherhood.",
    "legal": "Notwithstanding the foregoing, the Licensee shall indemnify, defend and hold "
    "harmless the Licensor from and against any and all third-party claims arising hereunder.",
    "code": "def encode(self, text: str) -> list[int]:\n    if len(text) <= LIMIT:\n"
    "        return self.encoding.encode_ordinary(text)\n    raise ValueError(f'{text!r}')\n",
    "json": '{"id": 481516, "price": 23.42, "tags": ["a", "b"], "ok": true, "at": "2014-05-08"}',
    "digits": "3.14159265358979323846 264338327950288 41971 69399375105820974944592307816406286",
    "base64": "TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24sIGJ1dCBieSB0aGlzIA==",
    "hash": "d44454c9ebb0bf513d8236a03decc9fb58704cad 77c8f5a3cc2e6e5e3793b43f84a3bc097a414f9e",
    "chinese": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心。",
    "traditional": "本協議受香港特別行政區法律管轄，並須按其解釋。魑魅魍魎，饕餮盛宴。",
    "japanese": "すべての人間は、生まれながらにして自由であり、尊厳と権利とについて平等である。",
    "korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "russian": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια.",
    "hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।",
    "arabic": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "hebrew": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "georgian": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი.",
    "polish": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "vietnamese": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    "emoji": "😀😃🙏🏽👨‍👩‍👧‍👦🇩🇪❤️🔥✨🚀🎉👍🏿🤷‍♀️🧬🪐🫠",
    "spaces": "a    b      c\n\n\n\n   d\t\te\r\n\r\n" + " " * 300 + "\n" * 50 + "\t" * 50,
    "capitals": "IN NO EVENT SHALL THE SUPPLIER BE LIABLE FOR ANY INDIRECT DAMAGES WHATSOEVER.",
    "letters": "qzxjvkwpfbmtdlrnhsgc yxwvutsrqponmlkjihgfedcba zzyxqw kjhgfd mnbvcx",
    "marks": '<div class="a-b">&nbsp;</div> ==== ---- **** #### ~~~~ ://?&= {[(<>)]} \\n\\t %$#@!',
    "maths": "∀x∈ℝ: ∃y>0 → ∑ᵢ αᵢβᵢ ≤ ∫₀^∞ e^{−x²}dx ≈ √π/2 ± 0.5µm²",
}


# -- the estimate ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_the_estimate_is_never_below_the_truth(text: str) -> None:
    estimate = len(EstimateTokenizer().encode(text))
    for encoding in ENCODINGS:
        assert estimate >= len(encoding.encode(text)), encoding.name


@pytest.mark.parametrize("name", ["english", "legal"])
def test_the_estimate_is_at_most_twice_the_truth_for_english(name: str) -> None:
    estimate = len(EstimateTokenizer().encode(TEXTS[name]))
    assert estimate <= 2 * max(len(encoding.encode(TEXTS[name])) for encoding in ENCODINGS)


def test_the_estimate_of_no_character_is_below_its_own_tokens() -> None:
    """Beyond ASCII, whose letters are estimated in groups."""
    low = [
        character
        for character in map(chr, (*range(0x80, 0xD800), *range(0xE000, 0x20000, 3)))
        if unicodedata.category(character) not in ("Cn", "Co")
        and len(EstimateTokenizer().encode(character))
        < max(len(encoding.encode(character)) for encoding in ENCODINGS)
    ]
    assert not low


@given(st.text(st.characters(min_codepoint=0x80, exclude_categories=("Cs", "Cn"))))
@settings(max_examples=200)
def test_the_estimate_holds_for_any_text_beyond_ascii(text: str) -> None:
    # Merges across characters may cost a token that the characters alone do not.
    estimate = 1.1 * len(EstimateTokenizer().encode(text)) + 2
    assert all(estimate >= len(encoding.encode(text)) for encoding in ENCODINGS)


@given(st.text())
def test_estimated_ids_are_those_of_equal_pieces(text: str) -> None:
    tokenizer = EstimateTokenizer()
    ids = tokenizer.encode(text)
    assert list(ids) == list(tokenizer.encode(text))
    assert len(ids) <= len(text.encode("utf-8", "surrogatepass"))
    assert (len(ids) == 0) == (text == "")
    assert all(0 <= token < 2**32 for token in ids)


def test_the_same_words_have_the_same_ids_anywhere_and_in_every_process() -> None:
    tokenizer = EstimateTokenizer()
    phrase = list(tokenizer.encode(" the notice period is thirty days"))
    longer = list(tokenizer.encode("Section 5 says: the notice period is thirty days, no more."))
    windows = [longer[at : at + len(phrase)] for at in range(len(longer))]
    assert phrase in windows
    assert phrase[:3] == [1114817750, 3769413946, 852606796]


@pytest.mark.parametrize("bad", ["a\ud800b\udfff", "\x00\x00", "\u202eabc", "", " ", "\ufeff"])
def test_both_kinds_take_any_string(bad: str) -> None:
    for tokenizer in (*ENCODINGS, EstimateTokenizer()):
        assert len(tokenizer.encode(bad)) <= 3 * len(bad)


# -- large texts ----------------------------------------------------------------------------------

LARGE = {
    "ten megabytes": "The Supplier shall deliver the goods in thirty days. " * 190_000,
    "one word of 100,000 letters": "a" * 100_000,
    "one word of a million letters": "ab" * 500_000,
    "a run of spaces that panics tiktoken 0.14": " " * 1_200_000 + "x",
    "a run of line breaks": "\n" * 1_000_000,
    "no spaces": "中文" * 300_000,
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE.keys())
def test_large_texts_take_seconds_at_most(text: str) -> None:
    started = time.process_time()
    exact = len(ENCODINGS[0].encode(text))
    estimate = len(EstimateTokenizer().encode(text))
    assert estimate >= exact > 0
    assert time.process_time() - started < 8


@pytest.mark.parametrize("unit", ["The notice period is 30 days.\n", "word ", "a, b; c! ", "x\n"])
def test_slices_give_the_same_tokens(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = unit * 3_000
    for encoding in ENCODINGS:
        whole = list(encoding.encode(text))
        monkeypatch.setattr(tokens, "_SLICE", 5_000)
        assert list(encoding.encode(text)) == whole
        monkeypatch.undo()


def test_special_tokens_in_a_text_are_plain_text() -> None:
    for encoding in ENCODINGS:
        assert len(encoding.encode("<|endoftext|>")) > 1


# -- which tokenizer ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (None, "o200k_base"),
        ("", "o200k_base"),
        ("o200k_base", "o200k_base"),
        ("cl100k_base", "cl100k_base"),
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        (" GPT-4o ", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4.1", "o200k_base"),
        ("gpt-5-mini", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-35-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("openai:gpt-4o", "o200k_base"),
        ("azure/gpt-4", "cl100k_base"),
        ("openrouter/openai/gpt-4o-mini", "o200k_base"),
        ("ft:gpt-4o-mini:org::id", "o200k_base"),
        ("ft:gpt-4.1-mini-2025-04-14:org:name:id", "o200k_base"),
        ("openai/ft:gpt-3.5-turbo:org", "cl100k_base"),
        ("gpt-4o@2024-08-06", "o200k_base"),
        ("gpt-oss:20b", "o200k_harmony"),
        ("groq/openai/gpt-oss-120b", "o200k_harmony"),
        ("us.openai.gpt-oss-20b-1:0", "o200k_harmony"),
    ],
)
def test_model_names_find_their_encoding(model: str | None, name: str) -> None:
    tokenizer = tokenizer_for(model)
    assert (tokenizer.name, tokenizer.exact) == (name, True)


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "meta-llama/Llama-3-8B", "azure/ours", 7])
def test_an_unknown_model_gets_the_estimate_and_one_warning(model: str) -> None:
    loader = tokens._Loader()
    with pytest.warns(TokenizerWarning, match=r"is not known\..* too high .*TIKTOKEN_CACHE_DIR"):
        found = loader.tokenizer(model)
    assert (found.name, found.exact) == ("estimate", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loader.tokenizer(model) == found


def test_tokenizers_are_values() -> None:
    for tokenizer in (*ENCODINGS, EstimateTokenizer()):
        assert pickle.loads(pickle.dumps(tokenizer)) == tokenizer  # noqa: S301 -- our own bytes
        assert copy.deepcopy(tokenizer) == tokenizer
        assert copy.copy(tokenizer) == tokenizer
        assert hash(tokenizer) == hash(copy.copy(tokenizer))
    assert ENCODINGS[0] != ENCODINGS[1]
    assert isinstance(ENCODINGS[0], TiktokenTokenizer)
    assert ENCODINGS[0].encoding is tiktoken.get_encoding("o200k_base")


def test_threads_share_one_load(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def build(name: str) -> tiktoken.Encoding:
        loads.append(name)
        time.sleep(0.05)
        return tiktoken.get_encoding(name)

    monkeypatch.setattr(tokens, "_build", build)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", dict[str, tiktoken.Encoding]())
    loader = tokens._Loader()
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(loader.tokenizer("gpt-4o"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["o200k_base"]
    assert found == [ENCODINGS[0]] * 8


# -- without tables -------------------------------------------------------------------------------

ALONE = """
import os, sys, threading, time, warnings

class NoLlamaIndex:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "llama_index":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoLlamaIndex())

def no_network(event, arguments):
    if event.startswith("socket.") and os.environ.get("NO_NETWORK"):
        raise OSError("this test has no network")

sys.addaudithook(no_network)

import tiktoken
import tiktoken.load
from ctxguard.text import tokens
"""


def run_alone(code: str, folder: Path, **environment: str) -> str:
    """Run code in a process without llama-index, without tables, and without a network."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE + textwrap.dedent(code)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "TMPDIR": str(folder),
            "NO_NETWORK": "1",
            **environment,
        },
    )
    return done.stdout.strip()


TELL = """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    started = time.monotonic()
    found = [tokens.tokenizer_for(model) for model in (None, "gpt-4o", "o200k_base", None)]
    took = time.monotonic() - started
print(found[0].name, len(set(found)), len(caught), took < 3)
for warning in caught:
    print(warning.category.__name__, warning.message)
"""


@pytest.mark.parametrize("cache", ["", "missing"])
def test_offline_there_is_an_estimate_and_one_warning(tmp_path: Path, cache: str) -> None:
    cache_dir = cache and str(tmp_path / cache)
    printed = run_alone(TELL, tmp_path, CTXGUARD_OFFLINE="1", TIKTOKEN_CACHE_DIR=cache_dir)
    first, _, warning = printed.partition("\n")
    assert first == "estimate 1 1 True"
    assert warning.startswith("TokenizerWarning no tables for the encoding 'o200k_base'")
    assert "CTXGUARD_OFFLINE is set" in warning


def test_a_network_that_refuses_gives_an_estimate_and_one_warning(tmp_path: Path) -> None:
    first, _, warning = run_alone(TELL, tmp_path, TIKTOKEN_CACHE_DIR="").partition("\n")
    assert first == "estimate 1 1 True"
    assert "could not load" in warning


@pytest.mark.slow
def test_a_download_that_hangs_is_left_behind(tmp_path: Path) -> None:
    code = """
    tokens.DOWNLOAD_SECONDS = 0.5
    tiktoken.load.read_file = lambda path: time.sleep(60)
    """
    more = """
    answer = []
    ask = lambda: answer.append(tiktoken.list_encoding_names())
    other = threading.Thread(target=ask, daemon=True)
    other.start()
    other.join(5)
    print("free" if answer else "blocked", os.environ.get("TIKTOKEN_CACHE_DIR"))
    """
    printed = run_alone(
        textwrap.dedent(code) + TELL + textwrap.dedent(more), tmp_path, TIKTOKEN_CACHE_DIR=""
    )
    lines = printed.splitlines()
    assert lines[0] == "estimate 1 1 True"
    assert "no answer within 0.5 s" in lines[1]
    assert lines[2].rstrip() == "free"


@pytest.mark.slow
def test_a_download_that_works_gives_the_exact_tokenizer(tmp_path: Path) -> None:
    bundled = next(folder for folder in tokens._cache_folders() if "llama_index" in str(folder))
    code = f"""
    import hashlib
    from pathlib import Path
    def read_file(address):
        return (Path({str(bundled)!r}) / hashlib.sha1(address.encode()).hexdigest()).read_bytes()
    tiktoken.load.read_file = read_file
    found = tokens.tokenizer_for()
    print(found.name, found.exact, found.encode("hello world"))
    """
    printed = run_alone(code, tmp_path, TIKTOKEN_CACHE_DIR="")
    assert printed == "o200k_base True [24912, 2375]"


# -- where tables come from -----------------------------------------------------------------------


def test_the_environment_is_restored_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    monkeypatch.setattr(
        tokens,
        "_build",
        lambda name: seen.append(os.environ.get("TIKTOKEN_CACHE_DIR")),  # builds nothing
    )
    monkeypatch.setenv("CTXGUARD_OFFLINE", "1")
    for before in (None, "", "somewhere"):
        if before is None:
            monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
        else:
            monkeypatch.setenv("TIKTOKEN_CACHE_DIR", before)
        tokens._from_disk("o200k_base", [])
        assert os.environ.get("TIKTOKEN_CACHE_DIR") == before
    assert len(seen) == 3
    assert all(folder and folder.endswith("tiktoken_cache") for folder in seen)


def test_folders_are_asked_in_tiktokens_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "first"))
    monkeypatch.setenv("DATA_GYM_CACHE_DIR", str(tmp_path / "second"))
    folders = list(tokens._cache_folders())
    assert folders[:2] == [tmp_path / "first", tmp_path / "second"]
    assert folders[2].name == "data-gym-cache"
    assert folders[3].parts[-3:] == ("core", "_static", "tiktoken_cache")


def test_what_cannot_be_looked_at_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        raise PermissionError

    def no_folder() -> str:
        raise FileNotFoundError

    def no_spec(name: str) -> None:
        raise ValueError(f"{name}.__spec__ is None")

    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", no_folder)
    monkeypatch.setattr("importlib.util.find_spec", no_spec)
    assert list(tokens._cache_folders()) == []
    monkeypatch.setattr(Path, "is_file", refuse)
    assert not tokens._is_file(Path("x"))


def test_without_threads_there_is_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", cannot)
    tried: list[str] = []
    assert tokens._within(1, "o200k_base", tried) is None
    assert tried == ["could not load: can't start new thread"]


def test_a_broken_plugin_of_tiktoken_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[str]:
        raise ValueError("a plugin without constructors")

    monkeypatch.setattr(tiktoken.registry, "ENCODING_CONSTRUCTORS", None)
    monkeypatch.setattr(tiktoken, "list_encoding_names", broken)
    assert tokens._Loader().tokenizer("gpt-4o") == ENCODINGS[0]


def test_a_panic_while_loading_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        """What pyo3 raises."""

    def panic(name: str) -> tiktoken.Encoding:
        raise PanicException(name)

    monkeypatch.setattr(tokens, "_build", panic)
    tried: list[str] = []
    assert tokens._within(1, "o200k_base", tried) is None
    assert tried == ["could not load: PanicException: o200k_base"]
