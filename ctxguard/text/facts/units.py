"""Units of measurement, as factors of a base unit: 1.5 km is 1500 m.

Only exact factors. What means different things in different places (gallon, ton, pound, KB, MB)
stays as written, and so does temperature, whose scales have different zeros.
"""

# ruff: noqa: RUF001 -- quotation marks, dashes and signs are what this module reads

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

__all__ = ["Unit", "read_duration_unit", "read_unit"]


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that was read behind a number."""

    end: int
    symbol: str
    """Of the base unit, where there is one: 'm', 'g', 'L', 's', 'day', 'month'."""
    factor: Fraction
    """How many base units one unit is."""


class _Entry(NamedTuple):
    """A unit of the table."""

    symbol: str
    """Its own symbol, for units per another."""
    base: str
    factor: Fraction


# -- the table ------------------------------------------------------------------------------------

_PREFIXES = {
    "pico": ("p", -12), "nano": ("n", -9), "micro": ("µ", -6), "milli": ("m", -3),
    "centi": ("c", -2), "deci": ("d", -1), "hecto": ("h", 2), "kilo": ("k", 3), "mega": ("M", 6),
    "giga": ("G", 9), "tera": ("T", 12),
}  # fmt: skip
_PREFIXED = {
    "m": ("nano micro milli centi deci kilo", "metre meter"),
    "g": ("nano micro milli centi kilo mega", "gram gramme"),
    "L": ("nano micro milli centi deci hecto", "litre liter"),
    "W": ("nano micro milli kilo mega giga tera", "watt"),
    "Wh": ("milli kilo mega giga tera", "watt-hour"),
    "V": ("nano micro milli kilo mega", "volt"),
    "A": ("pico nano micro milli kilo", "ampere amp"),
    "Hz": ("milli kilo mega giga tera", "hertz"),
    "Pa": ("milli hecto kilo mega giga", "pascal"),
    "J": ("milli kilo mega giga tera", "joule"),
    "bar": ("milli", ""),
    "Ω": ("micro milli kilo mega giga", "ohm"),
    "mol": ("pico nano micro milli kilo", "mole"),
    "eV": ("milli kilo mega giga tera", "electronvolt"),
    "Sv": ("nano micro milli", "sievert"),
    "Bq": ("kilo mega giga tera", "becquerel"),
    "cal": ("kilo", ""),
    "bit": ("kilo mega giga tera", ""),
    "N": ("milli kilo mega", "newton"),
    "F": ("pico nano micro milli", "farad"),
}
"""Base symbol → prefixes that are in use with it, names. Symbols are read with their letter case:
mW and MW differ by a factor of 10**9."""

_CUSTOMARY = (
    # symbol, base, factor, names
    ("in", "m", "0.0254", "inch inches"),
    ("ft", "m", "0.3048", "foot feet"),
    ("yd", "m", "0.9144", "yard yards"),
    ("mile", "m", "1609.344", "mi mile miles"),
    ("nautical mile", "m", "1852", "nautical-mile nautical-miles"),
    ("lb", "g", "453.59237", "lbs"),
    ("oz", "g", "28.349523125", ""),
    ("t", "g", "1000000", "tonne tonnes"),
    ("kg", "g", "1000", "kilo kilos"),
    ("µg", "g", "1/1000000", "mcg"),
    ("mL", "L", "1/1000", "cc ccm"),
    ("ha", "m²", "10000", "hectare hectares"),
    ("acre", "m²", "4046.8564224", "acres"),
    ("m²", "m²", "1", "sqm qm"),
    ("ft²", "m²", "0.09290304", "sqft"),
    ("km/h", "km/h", "1", "kmh kph"),
    ("mile/h", "mile/h", "1", "mph"),
    ("KiB", "KiB", "1", ""),
    ("MiB", "KiB", "1024", ""),
    ("GiB", "KiB", "1048576", ""),
    ("TiB", "KiB", "1073741824", ""),
)
_LITERAL = {
    "B": "byte bytes", "kB": "", "KB": "kilobyte kilobytes", "MB": "megabyte megabytes",
    "GB": "gigabyte gigabytes", "TB": "terabyte terabytes", "PB": "petabyte petabytes",
    "Kbit": "", "kbps": "", "Mbps": "", "Gbps": "", "bps": "", "psi": "", "rpm": "", "px": "",
    "dpi": "", "ppm": "", "ppb": "", "IU": "", "dB": "", "dBm": "", "hp": "", "mmHg": "",
    "Gy": "", "lux": "", "lm": "lumen lumens", "cd": "candela", "K": "kelvin", "kWp": "",
    "MWp": "", "°C": "", "°F": "", "°": "degree degrees", "ton": "tons", "gallon": "gallons gal",
    "pint": "pints", "quart": "quarts", "barrel": "barrels bbl", "ounce": "ounces",
    "pound": "pounds", "knot": "knots", "bushel": "bushels", "carat": "carats", "dose": "doses",
    "tablet": "tablets", "unit": "units", "share": "shares", "page": "pages", "word": "words",
    "token": "tokens", "person": "persons", "employee": "employees",
}  # fmt: skip
"""Units without a factor → their other names."""


def _prefixed() -> dict[str, _Entry]:
    table: dict[str, _Entry] = {}
    for base, (prefixes, names) in _PREFIXED.items():
        for prefix in ("", *prefixes.split()):
            short, power = _PREFIXES.get(prefix, ("", 0))
            entry = _Entry(short + base, base, Fraction(10) ** power)
            table[entry.symbol] = entry
            for name in names.split():
                table[prefix + name] = table[f"{prefix}{name}s"] = entry
    for symbol in tuple(table):
        if symbol.startswith("µ"):  # the Greek letter looks like the micro sign
            table["μ" + symbol[1:]] = table[symbol]
        if symbol.endswith("L"):
            table[symbol[:-1] + "l"] = table[symbol]
    return table


def _table() -> dict[str, _Entry]:
    """Every unit that is known, by symbol and by name."""
    table = _prefixed()
    for symbol, base, factor, names in _CUSTOMARY:
        entry = _Entry(symbol, base, Fraction(factor))
        table.update(dict.fromkeys(names.split(), entry))
        if symbol != "in":  # a preposition
            table[symbol] = entry
    for symbol, names in _LITERAL.items():
        table.update(dict.fromkeys((symbol, *names.split()), _Entry(symbol, symbol, Fraction(1))))
    return table


_UNITS = _table()
_NAMES = {
    name: entry
    for name, entry in _UNITS.items()
    if len(name) > 3 and name.islower() and name != entry.symbol and name not in ("mmol", "mbar")
}

# -- reading --------------------------------------------------------------------------------------

_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "²": 2, "³": 3, "2": 2, "3": 3}
_GAP = r"\*{0,3}[\s-]{0,2}\*{0,3}"
"""Between a number and its unit: "5km", "5 km", "5-km", "**5** km"."""
_UNIT = re.compile(
    rf"{_GAP}(?:(?P<power>square|sq|cubic|cu)\.?[\s-])?"
    r"(?P<name>°\s?[CF]|°|nautical[\s-]miles?|[a-z]*watt[\s-]hours?|[A-Za-zµμΩ]+)"
    r"(?:(?P<raised>[²³])|\^?(?P<digit>[23]))?(?!\w|['’]\w)"
)
_PER = re.compile(r"(?:\s?/\s?|\s+per\s+)(?P<name>[A-Za-zµμ]+)(?P<raised>[²³]?)(?!\w)")
_PER_TIME = {
    "hour": "h", "hours": "h", "hr": "h", "h": "h", "second": "s", "sec": "s", "s": "s",
    "minute": "min", "min": "min", "day": "day", "d": "day", "week": "week", "month": "month",
    "year": "year", "annum": "year",
}  # fmt: skip


def read_unit(text: str, start: int) -> Unit | None:
    """The unit that follows a number which ends at `start`, or None.

    A unit per another ("mg/kg", "miles per hour") is not converted, only written in symbols.
    """
    match = _UNIT.match(text, start)
    entry = _entry(re.sub(r"\s", "-", match["name"])) if match else None
    if match is None or entry is None:
        return None
    power = _POWERS.get(match["power"] or match["raised"] or match["digit"] or "", 1)
    raised = {2: "²", 3: "³"}.get(power, "")
    symbol, end = entry.symbol + raised, match.end()
    while (per := _PER.match(text, end)) and (below := _below(per)):
        symbol, end = f"{symbol}/{below}", per.end()
    if end > match.end():
        return Unit(end, symbol, Fraction(1))
    if entry.base == "m" and power == 3:
        return Unit(end, "L", entry.factor**3 * 1000)
    return Unit(end, entry.base + raised, entry.factor**power)


def _entry(name: str) -> _Entry | None:
    """The unit of this name; only names, not symbols, may be in any letter case."""
    return _UNITS.get(name.replace("°-", "°")) or _NAMES.get(name.lower())


def _below(per: re.Match[str]) -> str | None:
    name = per["name"]
    entry = _UNITS.get(name)
    symbol = _PER_TIME.get(name) or (entry.symbol if entry else None)
    return symbol and symbol + per["raised"]


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
    rf"{_GAP}(?:(?P<kind>calendar|business|working|banking|trading|consecutive|clear|full|court|"
    r"school|fiscal|financial|contract|academic|light)[\s-]+)?(?P<unit>[A-Za-zµμ]+)(?!\w)",
    re.IGNORECASE,
)


def read_duration_unit(text: str, start: int) -> Unit | None:
    """The unit of time that follows a number which ends at `start`, or None.

    Calendar days are days; business days, and every other kind, are units of their own.
    """
    match = _DURATION.match(text, start)
    if match is None:
        return None
    name = match["unit"] if len(match["unit"]) < 3 else match["unit"].lower()
    known = _DURATIONS.get(name)
    if known is None:
        return None
    kind = (match["kind"] or "").lower()
    if kind in ("", "calendar"):
        return Unit(match.end(), *known)
    return Unit(match.end(), f"{kind} {name.rstrip('s')}", Fraction(1))
