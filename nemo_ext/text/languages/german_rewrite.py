"""German dates, times, money, ordinals, years and numbers in words.

nemo_text_processing's German grammar reads years as numbers, puts every ordinal into the nominative, takes ``3.10`` for
a date and leaves ``12.000``, ``3,50 €`` and ``&`` unread, at seconds a sentence. So the common written forms are read
here; the grammar gets what is left (units, addresses, fractions).
"""

from __future__ import annotations

import re

from nemo_ext.text.languages.german_numbers import cardinal, decimal, digits, ordinal, year

MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()  # noqa: SIM905
_NUMBER = r"(\d{1,3}(?:\.\d{3})+|\d+)(?:,(\d+))?"
_MONTH = "|".join(MONTHS)
# A form of the article or a preposition before an ordinal asks for -en; "ein 3." asks for -er.
_WEAK = r"(am|vom|zum|beim|im|dem|den|des|einem|einen|eines|seit|ab|bis|nach|vor)"
_CURRENCY = {"€": "Euro", "$": "Dollar", "£": "Pfund", "¥": "Yen", "EUR": "Euro", "USD": "Dollar", "CHF": "Franken"}
_UNITS = {
    "km/h": "Kilometer pro Stunde",
    "m/s": "Meter pro Sekunde",
    "km²": "Quadratkilometer",
    "m²": "Quadratmeter",
    "cm²": "Quadratzentimeter",
    "m³": "Kubikmeter",
    "km": "Kilometer",
    "dm": "Dezimeter",
    "cm": "Zentimeter",
    "mm": "Millimeter",
    "m": "Meter",
    "kg": "Kilogramm",
    "mg": "Milligramm",
    "g": "Gramm",
    "t": "Tonne",
    "l": "Liter",
    "ml": "Milliliter",
    "kWh": "Kilowattstunden",
    "kW": "Kilowatt",
    "MW": "Megawatt",
    "W": "Watt",
    "V": "Volt",
    "kHz": "Kilohertz",
    "MHz": "Megahertz",
    "GHz": "Gigahertz",
    "Hz": "Hertz",
    "MB": "Megabyte",
    "GB": "Gigabyte",
    "TB": "Terabyte",
    "°C": "Grad Celsius",
    "°": "Grad",
    "ms": "Millisekunden",
    "s": "Sekunde",
    "min": "Minute",
    "h": "Stunde",
}
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))


_FRACTIONS = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅛": "1/8"}
_FEMININE = {"Stunde", "Minute", "Sekunde", "Million", "Milliarde", "Tonne", "Tasse", "Flasche", "Seite", "Meile"}
_NEUTER = {"Jahr", "Pfund", "Kilo", "Kilogramm", "Gramm", "Dutzend", "Prozent", "Glas", "Blatt", "Leben"}


def rewrite(text: str) -> str:
    """Dates, times, money, per cent, ordinals, years and numbers in words."""
    text = re.sub(r"\b(\d{1,3})½", lambda m: f"{cardinal(int(m[1]))}einhalb", text)
    text = re.sub(r"(?<![\d\w])[" + "".join(_FRACTIONS) + "]", lambda m: _FRACTIONS[m[0]], text)
    text = re.sub(r"\b(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4}|\d{2})?(?!\d)", _date, text)
    text = re.sub(rf"(?:\b{_WEAK}\s)?\b(\d{{1,3}})\.(?=\s?(?:{_MONTH})\b)\s?", _day, text, flags=re.IGNORECASE)
    text = re.sub(rf"\b({_MONTH})\s(\d{{4}})\b", lambda m: f"{m[1]} {year(int(m[2]))}", text)
    text = re.sub(
        rf"\b{_WEAK}\s(\d{{1,3}})\.(?=\s\w)", lambda m: f"{m[1]} {ordinal(int(m[2]), 'en')}", text, flags=re.I
    )
    text = re.sub(r"\b(\d{1,3})\.(?=\s[a-zäöüA-ZÄÖÜ])", lambda m: ordinal(int(m[1])), text)
    text = re.sub(r"\b(\d{1,2})[:.](\d{2})\sUhr\b", _time, text)
    text = re.sub(r"([€$£¥])\s?" + _NUMBER + r"(?![\d.,]*\d)", lambda m: _money(m[2], m[3], m[1]), text)
    text = re.sub(_NUMBER + r"\s?([€$£¥]|EUR\b|USD\b|CHF\b)", lambda m: _money(m[1], m[2], m[3]), text)
    text = re.sub(_NUMBER + r"\s?%", lambda m: f"{_amount(m[1], m[2])} Prozent", text)
    text = re.sub(r"(?<=\d)\s?[–-]\s?(?=\d)", " bis ", text)
    text = re.sub(r"(?<![\d.,])(1[1-9]\d\d)(?![\d,]|\.\d)", lambda m: year(int(m[1])), text)
    text = re.sub(r"\b(\d+)\.(\d{1,2})(?![\d.])", lambda m: f"{cardinal(int(m[1]))} Punkt {digits(m[2])}", text)
    text = re.sub(_NUMBER + rf"\s?({_UNIT})(?![\w°²³])", _measure, text)
    text = re.sub(r"(?<![\d\w./])1/2\s([A-ZÄÖÜ][a-zäöüß]+)", _half, text)
    text = re.sub(r"(?<![\d\w.])(\d)/(\d)(?![\d/])", _part, text)
    return re.sub(r"(?<![\d.,:/+\-@\w])" + _NUMBER + r"(?![\d:/@\w]|[.,]\d)", lambda m: _amount(m[1], m[2]), text)


def _measure(match: re.Match[str]) -> str:
    whole, fraction, unit = match.groups()
    feminine = _UNITS[unit].split()[0] in {"Sekunde", "Minute", "Stunde", "Tonne"}
    if whole == "1" and not fraction:
        return f"{'eine' if feminine else 'ein'} {_UNITS[unit]}"
    plural = {"Sekunde": "Sekunden", "Minute": "Minuten", "Stunde": "Stunden", "Tonne": "Tonnen"}
    return f"{_amount(whole, fraction)} {plural.get(_UNITS[unit], _UNITS[unit])}"


def _half(match: re.Match[str]) -> str:
    noun = match[1]
    return f"{'eine halbe' if noun in _FEMININE else 'ein halbes' if noun in _NEUTER else 'ein halber'} {noun}"


def _part(match: re.Match[str]) -> str:
    over, under = int(match[1]), int(match[2])
    if under < 2 or not over:
        return match[0]
    number = "ein" if over == 1 else cardinal(over)
    if under == 2:
        return f"{number} {'halb' if over == 1 else 'halbe'}"
    return f"{number} {ordinal(under, 'el').capitalize()}"


def _amount(whole: str, fraction: str | None) -> str:
    whole = whole.replace(".", "")
    if fraction:
        return decimal(whole, fraction)
    return digits(whole) if len(whole) > 1 and whole[0] == "0" else cardinal(int(whole))


def _money(whole: str, fraction: str | None, sign: str) -> str:
    amount, unit = int(whole.replace(".", "")), _CURRENCY[sign]
    one = "ein" if amount == 1 else cardinal(amount)
    if fraction and len(fraction) == 2:
        return f"{one} {unit}" + (f" {cardinal(int(fraction))}" if int(fraction) else "")
    return f"{decimal(whole.replace('.', ''), fraction)} {unit}" if fraction else f"{one} {unit}"


def _date(match: re.Match[str]) -> str:
    day, month = int(match[1]), int(match[2])
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return match[0]
    before = match.string[: match.start()].rstrip()
    ending = "en" if re.search(rf"\b{_WEAK}$", before, re.IGNORECASE) else "er"
    if re.search(r"\b(der|die|das)$", before, re.IGNORECASE):
        ending = "e"
    spoken = f"{ordinal(day, ending)} {MONTHS[month - 1]}"
    return f"{spoken} {year(int(match[3]))}" if match[3] else spoken


def _day(match: re.Match[str]) -> str:
    word = match[1]
    return f"{word} {ordinal(int(match[2]), 'en')} " if word else f"{ordinal(int(match[2]), 'er')} "


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    spoken = f"{'ein' if hour == 1 else cardinal(hour)} Uhr"
    return f"{spoken} {cardinal(minute)}" if minute else spoken
