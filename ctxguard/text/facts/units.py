"""Units of measurement, as factors of a base unit: 1.5 km is 1500 m.

Only exact factors. What means different things in different places (gallon, ton, pound, KB, MB)
stays as written, and so does temperature, whose scales have different zeros.
"""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Unit", "read_duration_unit", "read_unit"]


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that was read behind a number."""

    end: int
    symbol: str
    """Of the base unit, where there is one: 'm', 'g', 'L', 's', 'day', 'month'."""
    factor: Fraction
    """How many base units one unit is."""


_PREFIXES = {
    "p": -12, "n": -9, "µ": -6, "μ": -6, "m": -3, "c": -2, "d": -1, "h": 2, "k": 3, "M": 6, "G": 9,
    "T": 12,
}  # fmt: skip
_LONG_PREFIXES = {
    "pico": -12, "nano": -9, "micro": -6, "milli": -3, "centi": -2, "deci": -1, "hecto": 2,
    "kilo": 3, "mega": 6, "giga": 9, "tera": 12,
}  # fmt: skip
_PREFIXED = {
    # symbol: (prefixes that are in use, names)
    "m": ("nµμmcdk", "metre meter"),
    "g": ("nµμmckM", "gram gramme"),
    "L": ("nµμmcdh", "litre liter"),
    "W": ("nµμmkMGT", "watt"),
    "Wh": ("mkMGT", ""),
    "V": ("nµμmkM", "volt"),
    "A": ("pnµμmk", "ampere amp"),
    "Hz": ("mkMGT", "hertz"),
    "Pa": ("mhkMG", "pascal"),
    "J": ("mkMGT", "joule"),
    "bar": ("m", ""),
    "Ω": ("µμmkMG", "ohm"),
    "mol": ("pnµμmk", "mole"),
    "eV": ("mkMGT", ""),
    "Sv": ("nµμm", "sievert"),
    "Bq": ("kMGT", "becquerel"),
    "cal": ("k", "calorie"),
    "bit": ("kMGT", ""),
    "N": ("mkM", "newton"),
    "F": ("pnµμm", "farad"),
}
"""Symbols are read with their letter case: mW and MW differ by a factor of 10**9."""

_OTHERS = {
    "mcg": ("g", "1/1000000"), "l": ("L", "1"), "ml": ("L", "1/1000"), "cl": ("L", "1/100"),
    "dl": ("L", "1/10"), "hl": ("L", "100"), "cc": ("L", "1/1000"), "kilo": ("g", "1000"),
    "kilos": ("g", "1000"), "t": ("g", "1000000"), "tonne": ("g", "1000000"),
    "tonnes": ("g", "1000000"), "inch": ("m", "0.0254"), "inches": ("m", "0.0254"),
    "ft": ("m", "0.3048"), "foot": ("m", "0.3048"), "feet": ("m", "0.3048"),
    "yd": ("m", "0.9144"), "yard": ("m", "0.9144"), "yards": ("m", "0.9144"),
    "mi": ("m", "1609.344"), "mile": ("m", "1609.344"), "miles": ("m", "1609.344"),
    "nautical mile": ("m", "1852"), "nautical miles": ("m", "1852"),
    "lb": ("g", "453.59237"), "lbs": ("g", "453.59237"), "oz": ("g", "28.349523125"),
    "ha": ("m²", "10000"), "hectare": ("m²", "10000"), "hectares": ("m²", "10000"),
    "acre": ("m²", "4046.8564224"), "acres": ("m²", "4046.8564224"),
    "sqm": ("m²", "1"), "sqft": ("m²", "0.09290304"), "kmh": ("km/h", "1"), "kph": ("km/h", "1"),
    "kWp": ("Wp", "1000"), "MWp": ("Wp", "1000000"), "KiB": ("KiB", "1"), "MiB": ("KiB", "1024"),
    "GiB": ("KiB", "1048576"), "TiB": ("KiB", "1073741824"),
}  # fmt: skip
_LITERAL = (
    "B kB KB MB GB TB PB Kbit kbps Mbps Gbps bps psi mph rpm px dpi ppm ppb IU dB dBm hp kcal rem "
    "Gy lux lumen lm cd K ton tons gallon gallons gal pint pints quart quarts barrel barrels bbl "
    "ounce ounces pound pounds byte bytes bits kilobyte kilobytes megabyte megabytes gigabyte "
    "gigabytes terabyte terabytes mmHg °C °F ° degree degrees knot knots bushel bushels carat carats "
    "dose doses tablet tablets unit units share shares page pages word words token tokens"
).split()
_ALIASES = {
    "gallons": "gallon", "gal": "gallon", "tons": "ton", "pints": "pint", "quarts": "quart",
    "barrels": "barrel", "bbl": "barrel", "ounces": "ounce", "pounds": "pound", "bytes": "B",
    "byte": "B", "bits": "bit", "kilobyte": "KB", "kilobytes": "KB", "megabyte": "MB",
    "megabytes": "MB", "gigabyte": "GB", "gigabytes": "GB", "terabyte": "TB", "terabytes": "TB",
    "degree": "°", "degrees": "°", "knots": "knot", "bushels": "bushel", "carats": "carat",
    "doses": "dose", "tablets": "tablet", "units": "unit", "shares": "share", "pages": "page",
    "words": "word", "tokens": "token", "lumen": "lm",
}  # fmt: skip


def _table() -> dict[str, tuple[str, Fraction]]:
    """Every unit that is known: name or symbol → base symbol, factor."""
    table = {name: (_ALIASES.get(name, name), Fraction(1)) for name in _LITERAL}
    for symbol, (prefixes, names) in _PREFIXED.items():
        table[symbol] = (symbol, Fraction(1))
        for prefix in prefixes:
            table[prefix + symbol] = (symbol, Fraction(10) ** _PREFIXES[prefix])
        for name in names.split():
            for plural in ("", "s"):
                table[name + plural] = (symbol, Fraction(1))
                for prefix, power in _LONG_PREFIXES.items():
                    table[prefix + name + plural] = (symbol, Fraction(10) ** power)
    for prefix, power in ("kilo", 3), ("mega", 6), ("giga", 9):
        for plural in ("", "s"):
            table[f"{prefix}watt-hour{plural}"] = ("Wh", Fraction(10) ** power)
            table[f"{prefix}watt hour{plural}"] = ("Wh", Fraction(10) ** power)
    table.update({name: (base, Fraction(factor)) for name, (base, factor) in _OTHERS.items()})
    return table


_UNITS = _table()
_POWERED = {"square": "²", "sq": "²", "cubic": "³", "cu": "³"}
_UNIT = re.compile(
    r"\*{0,3}[\s-]{0,2}\*{0,3}(?:(?P<power>square|sq\.?|cubic|cu\.?)[\s-])?"
    r"(?P<name>°\s?[CF]|°|(?:nautical|kilowatt|megawatt|gigawatt)[\s-][a-z]+|[A-Za-zµμΩ]+)"
    r"(?:(?P<raised>[²³])|\^?(?P<digit>[23]))?(?!\w|['’]\w)"
)
_PER = re.compile(r"(?:\s?/\s?|\s+per\s+)(?P<name>[A-Za-zµμ]+)(?P<raised>[²³]?)(?!\w)")
_PER_SYMBOLS = {
    "hour": "h", "hours": "h", "hr": "h", "second": "s", "sec": "s", "minute": "min",
    "day": "day", "week": "week", "month": "month", "year": "year", "annum": "year", "h": "h",
    "s": "s", "min": "min", "d": "day", "person": "person", "unit": "unit",
}  # fmt: skip


def read_unit(text: str, start: int) -> Unit | None:
    """The unit that follows a number which ends at `start`, or None.

    A unit per another ("mg/kg", "miles per hour") stays as it is, spelled in symbols.
    """
    match = _UNIT.match(text, start)
    if match is None:
        return None
    name = re.sub(r"[\s-]+", " ", match["name"])
    known = _UNITS.get(name.replace("° ", "°")) or _UNITS.get(name.lower() if len(name) > 3 else "")
    if known is None:
        return None
    symbol, factor = known
    power = _POWERED.get((match["power"] or "").rstrip("."), "")
    power = power or match["raised"] or {"2": "²", "3": "³"}.get(match["digit"] or "", "")
    if power:
        factor = factor ** (2 if power == "²" else 3)
        symbol += power
    end = match.end()
    per = _PER.match(text, end)
    if per is None:
        return _litres(Unit(end, symbol, factor))
    symbol = _symbol_of(match, name) + power
    while per is not None and (below := _denominator(per)):
        symbol += f"/{below}"
        end = per.end()
        per = _PER.match(text, end)
    if "/" not in symbol:
        return _litres(Unit(end, known[0] + power, factor))
    return Unit(end, symbol, Fraction(1))


def _symbol_of(match: re.Match[str], name: str) -> str:
    """A unit in front of "per", with its prefix: "mg", "kilometres" as "km"."""
    if name in _UNITS and len(name) <= 3:
        return "L" if name == "l" else name
    base, factor = _UNITS.get(name) or _UNITS[name.lower()]
    if factor == 1:
        return base
    for prefix, power in _PREFIXES.items():
        if factor == Fraction(10) ** power and prefix + base in _UNITS:
            return prefix + base
    return name


def _denominator(per: re.Match[str]) -> str | None:
    name = per["name"]
    if name in _PER_SYMBOLS:
        return _PER_SYMBOLS[name]
    if name in _UNITS:
        base, factor = _UNITS[name]
        return (base if factor == 1 else name) + per["raised"]
    return None


def _litres(unit: Unit) -> Unit:
    """Cubic metres as litres: both are in use for the same things."""
    if unit.symbol == "m³":
        return Unit(unit.end, "L", unit.factor * 1000)
    return unit


# -- time -----------------------------------------------------------------------------------------

_DURATIONS = {
    name: (base, Fraction(factor))
    for names, base, factor in (
        ("s sec secs second seconds", "s", 1),
        ("ms millisecond milliseconds", "s", "1/1000"),
        ("µs μs microsecond microseconds", "s", "1/1000000"),
        ("ns nanosecond nanoseconds", "s", "1/1000000000"),
        ("min mins minute minutes", "s", 60),
        ("h hr hrs hour hours", "s", 3600),
        ("d day days", "day", 1),
        ("wk wks week weeks", "day", 7),
        ("fortnight fortnights", "day", 14),
        ("mo mos mth mths month months", "month", 1),
        ("yr yrs year years", "month", 12),
        ("decade decades", "month", 120),
        ("quarter quarters", "quarter", 1),
        ("night nights", "night", 1),
    )
    for name in names.split()
}
"""Hours are not days (a day at the change of the clocks), and days are not months."""
_DURATION = re.compile(
    r"\*{0,3}[\s-]{0,2}\*{0,3}(?:(?P<kind>calendar|business|working|banking|trading|consecutive|clear|full|court|"
    r"school|fiscal|financial|contract|academic|light)[\s-]+)?(?P<unit>[A-Za-zµμ]+)(?![\w])",
    re.IGNORECASE,
)


def read_duration_unit(text: str, start: int) -> Unit | None:
    """The unit of time that follows a number which ends at `start`, or None.

    Calendar days are days; business days, and every other kind, are units of their own.
    """
    match = _DURATION.match(text, start)
    if match is None:
        return None
    known = _DURATIONS.get(match["unit"].lower())
    if known is None or (len(match["unit"]) == 1 and match["unit"].isupper()):
        return None
    symbol, factor = known
    kind = (match["kind"] or "").lower()
    if kind in ("", "calendar"):
        return Unit(match.end(), symbol, factor)
    singular = match["unit"].lower().rstrip("s")
    return Unit(match.end(), f"{kind} {singular}", Fraction(1))
