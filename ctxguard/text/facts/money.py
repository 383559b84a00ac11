"""Currencies, before or after a number, as ISO 4217 codes where the writing says which."""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re

__all__ = [
    "CURRENCY_CODES",
    "CURRENCY_SIGNS",
    "read_currency_after",
    "read_currency_before",
    "read_scale",
]

_SIGNS = {
    "$": "USD", "€": "EUR", "£": "GBP", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY", "₫": "VND",
    "₦": "NGN", "₪": "ILS", "₱": "PHP", "฿": "THB", "₴": "UAH", "₿": "BTC",
    "¥": "¥",  # yen or yuan: stays as written
    "¢": "cent",
    "US$": "USD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "HK$": "HKD", "NZ$": "NZD",
    "S$": "SGD", "SG$": "SGD", "R$": "BRL", "NT$": "TWD", "MX$": "MXN",
}  # fmt: skip
"""A lone "$" is read as US dollars, as it is meant most; "C$" does not equal it."""
CURRENCY_SIGNS = "".join(sign for sign in _SIGNS if len(sign) == 1)
_CODES = (
    "USD EUR GBP JPY CNY INR CHF CAD AUD NZD SEK NOK DKK PLN CZK HUF RON BGN TRY RUB UAH BRL MXN "
    "ARS CLP COP ZAR KRW SGD HKD TWD THB IDR MYR PHP VND ILS AED SAR QAR EGP NGN KES PKR RMB BTC "
    "ETH"
)
CURRENCY_CODES = frozenset(_CODES.split())
_CODE = "|".join(sorted(CURRENCY_CODES))
_SIGN = "|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True))
_NUMBER_AHEAD = (
    r"\s{0,2}(?:[-−]\s?)?(?=[\d½¼¾]|(?i:one|two|three|four|five|six|seven|eight|nine|ten|"
    r"eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|"
    r"forty|fifty|sixty|seventy|eighty|ninety|half)(?![A-Za-z]))"
)
_BEFORE = re.compile(rf"(?P<money>{_SIGN}|(?:{_CODE})[$€£]?|Rs\.?){_NUMBER_AHEAD}")
_AFTER = re.compile(
    rf"[\s-]{{0,2}}(?:(?P<money>{_SIGN}|(?:{_CODE})(?![A-Za-z0-9]))"
    r"|(?P<words>(?i:(?P<land>U\.?S\.?(?:A\.?)?|United\sStates|Canadian|Australian|Hong\sKong|Singapore|New\s"
    r"Zealand|Swiss)\s+)?(?P<unit>(?i:dollars?|euros?|yen|yuan|renminbi|francs?|pounds?\s+sterling|"
    r"(?:indian\s)?rupees?|rubles?|roubles?|pesos?|won|cents?|pence|kron(?:er|or|e|a)))(?!\w|['’]\w)))"
)
_SCALED = re.compile(
    rf"\s?(?P<scale>[kKmMbBT]|MM|mm|[bmt]n)(?=\s?(?:{_SIGN}|(?:{_CODE}))(?![A-Za-z0-9]))"
)
_SCALES = {
    "k": 10**3, "m": 10**6, "mm": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9, "t": 10**12,
    "tn": 10**12,
}  # fmt: skip
_LANDS = {
    "canadian": "CAD", "australian": "AUD", "hong kong": "HKD", "singapore": "SGD",
    "new zealand": "NZD", "swiss": "CHF",
}  # fmt: skip
_WORDS = {
    "dollar": "USD", "euro": "EUR", "yen": "JPY", "yuan": "CNY", "renminbi": "CNY",
    "ruble": "RUB", "rouble": "RUB",
}  # fmt: skip


def read_currency_before(text: str, start: int) -> tuple[str, int] | None:
    """The currency that stands at `start` before a number, and where that number begins."""
    match = _BEFORE.match(text, start)
    if match is None:
        return None
    sign = match["money"]
    return _code(sign), match.end()


def read_scale(text: str, end: int) -> tuple[int, int]:
    """The multiple between a number that ends at `end` and a currency: "1.5M USD"; 1 if none."""
    match = _SCALED.match(text, end)
    return (_SCALES[match["scale"].lower()], match.end()) if match else (1, end)


def read_currency_after(text: str, start: int) -> tuple[str, int] | None:
    """The currency that follows a number which ends at `start`, and where it ends."""
    match = _AFTER.match(text, start)
    if match is None:
        return None
    if match["money"]:
        return _code(match["money"]), match.end()
    unit = " ".join(match["unit"].lower().split())
    land = " ".join((match["land"] or "").lower().split())
    if land in _LANDS and not unit.startswith(("cent", "euro")):
        return _LANDS[land], match.end()
    if unit.startswith("pound"):
        return "GBP", match.end()
    singular = unit.removesuffix("s")
    return _WORDS.get(singular, singular), match.end()


def _code(written: str) -> str:
    upper = written.upper()
    if upper in _SIGNS:
        return _SIGNS[upper]
    code = upper.rstrip("$€£.")
    return {"RMB": "CNY"}.get(code, code)
