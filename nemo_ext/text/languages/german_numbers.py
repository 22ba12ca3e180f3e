"""German numbers in words."""

from __future__ import annotations

_ONES = (
    *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"),
    *("dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn"),
)
_TENS = ("", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")
_BIG = (("Million", "Millionen"), ("Milliarde", "Milliarden"), ("Billion", "Billionen"), ("Billiarde", "Billiarden"))
_ORDINALS = {1: "erst", 3: "dritt", 7: "siebt", 8: "acht"}


def cardinal(number: int) -> str:
    """``1234`` -> ``eintausendzweihundertvierunddreißig``; beyond 10**18 digit by digit."""
    if number >= 10**18:
        return digits(str(number))
    if number < 1_000_000:
        return _below_million(number)
    words: list[str] = []
    big, rest = divmod(number, 1_000_000)
    names = iter(_BIG)
    while big:
        big, part = divmod(big, 1000)
        one, many = next(names)
        if part:
            words.insert(0, f"eine {one}" if part == 1 else f"{_below_million(part)} {many}")
    return " ".join([*words, *([_below_million(rest)] if rest else [])])


def _below_million(number: int) -> str:
    thousands, rest = divmod(number, 1000)
    words = ""
    if thousands:
        words = ("ein" if thousands == 1 else _joined(thousands)) + "tausend"
    return words + (_below_thousand(rest) if rest or not words else "")


def _joined(number: int) -> str:
    """``number`` before another word: ``einundzwanzig|tausend``, ``hundertein|tausend``."""
    words = _below_thousand(number)
    return words.removesuffix("s") if words.endswith("eins") else words


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = ""
    if hundreds:
        words = ("ein" if hundreds == 1 else _ONES[hundreds]) + "hundert"
        if not rest:
            return words
    if rest < 20:
        return words + _ONES[rest]
    tens, one = divmod(rest, 10)
    return words + (("ein" if one == 1 else _ONES[one]) + "und" if one else "") + _TENS[tens]


def digits(text: str) -> str:
    """``"07"`` -> ``null sieben``."""
    return " ".join(_ONES[int(d)] for d in text if d.isdecimal())


def decimal(whole: str, fraction: str) -> str:
    """``3,14`` -> ``drei Komma eins vier``."""
    return f"{cardinal(int(whole))} Komma {digits(fraction)}"


def ordinal(number: int, ending: str = "e") -> str:
    """``3`` -> ``dritte``; ``ending`` as the sentence wants it: e, en, er, es."""
    head, last = divmod(number, 100)
    front = (cardinal(head * 100) if head else "") if last else ""
    if last and last < 20:
        return front + _ORDINALS.get(last, _ONES[last] + "t") + ending
    return front + cardinal(last or number) + "st" + ending


def year(number: int) -> str:
    """``1990`` -> ``neunzehnhundertneunzig``; years from 2000 are plain numbers."""
    if 1100 <= number < 2000:
        hundreds, rest = divmod(number, 100)
        return _ONES[hundreds] + "hundert" + (_below_thousand(rest) if rest else "")
    return cardinal(number)
