"""How German dates, times and durations are read."""

from __future__ import annotations

import re

from nemo_ext.text.languages.german_numbers import cardinal, ordinal, year
from nemo_ext.text.languages.german_readings import amount
from nemo_ext.text.languages.german_words import BEGINNERS, DAYS, LABELS, MONTHS, ordinal_ending
from nemo_ext.text.rules import after, before, last_word

MONTH = "|".join(MONTHS)
SHORT_MONTHS = {"Jan": 1, "Feb": 2, "Mär": 3, "Apr": 4, "Jun": 6, "Jul": 7, "Aug": 8, "Sep": 9, "Sept": 9, "Okt": 10}
SHORT_MONTHS |= {"Nov": 11, "Dez": 12}


def day_word(day: int, text_before: str, month: str) -> str:
    """The ordinal of a day, with the ending that the words before it ask for."""
    return ordinal(day, ordinal_ending(text_before, month))


def year_or_pair(text: str) -> str:
    """Years with a slash."""
    return amount(text) if len(text) == 2 else year(int(text))


_DATE_BEFORE = re.compile(
    rf"(?:\b(?:am|vom|bis|zum|ab|seit|der|den|dem|des|und|oder|zwischen|vor|nach|stichtag|{'|'.join(DAYS.values())})|[,(–])$",
    re.IGNORECASE,
)


def date(match: re.Match[str]) -> str | None:
    """Date: ``Am 3.10. war frei.`` -> ``Am dritten Oktober war frei.``."""
    day, month, of = int(match["d"]), int(match["m"]), match["y"]
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    text, rest = before(match), after(match)
    if last_word(text) in LABELS:
        return None
    if not of and not _DATE_BEFORE.search(text) and not (rest[:1].islower() or (not text and len(match["d"]) == 2)):
        return None
    if match.group("from"):
        first = day_word(int(match["from"]), text, "Tag")
        spoken = f"{first} bis {ordinal(day, 'en')} {MONTHS[month - 1]}"
    else:
        spoken = f"{day_word(day, text, MONTHS[0])} {MONTHS[month - 1]}"
    stops = not of and rest[:1].isupper() and rest.split()[0].lower().strip(",.") in BEGINNERS
    return spoken + (f" {year_or_pair(of)}" if of else "") + ("." if stops else "")


def iso_date(match: re.Match[str]) -> str | None:
    """ISO date: ``am 2023-12-24`` -> ``am vierundzwanzigsten Dezember zweitausenddreiundzwanzig``."""
    of, month, day = (int(part) for part in match.groups())
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    return f"{day_word(day, before(match), MONTHS[0])} {MONTHS[month - 1]} {year(of)}"


def written_date(match: re.Match[str]) -> str:
    """Date with a month's name: ``der 1. Januar`` -> ``der erste Januar``."""
    name = match["month"]
    month = name if name in MONTHS else MONTHS[SHORT_MONTHS[name.rstrip(".")] - 1]
    spoken = f"{day_word(int(match['d']), before(match), month)} {month}"
    if match["from"]:
        spoken = f"{day_word(int(match['from']), before(match), month)} bis {ordinal(int(match['d']), 'en')} {month}"
    return spoken + (f" {year_or_pair(match['y'])}" if match["y"] else "")


_SCORE = re.compile(
    r"verhältnis|maßstab|format|ergebnis|spiel|endete|gewann|gewinn|verlor|sieg|führ|niederlage|unentschied|schlug|"
    r"misch|skala|tor\b|halbzeit|endstand|stand\b|satz\b|unterl|besieg",
    re.IGNORECASE,
)


def clock_words(hour: str, minute: str | None, second: str | None = None, word: bool = True) -> str:
    """Hour: ``1 Uhr`` -> ``ein Uhr``."""
    number = int(hour)
    spoken = "ein" if number == 1 and word else cardinal(number)
    spoken += " Uhr" if word else ""
    if minute and int(minute):
        spoken += f" {cardinal(int(minute))}"
    if second and int(second):
        spoken += f" und {amount(second.lstrip('0'), 'eine')} Sekunde{'' if int(second) == 1 else 'n'}"
    return spoken


def time(match: re.Match[str]) -> str | None:
    """Time: ``um 14:30`` -> ``um vierzehn Uhr dreißig``."""
    hour, minute, second = match["h"], match["m"], match["s"]
    if int(hour) > 24 or int(minute) > 59 or int(second or 0) > 59:
        return None
    clock = match["uhr"] or re.search(r"\b(um|ab|gegen|bis|seit|vor|nach|von|zwischen)$", before(match), re.I)
    if not match["uhr"] and match["sep"] == ".":
        return None
    if not clock and (_SCORE.search(before(match)) or _SCORE.search(after(match, 30))):
        return None
    return clock_words(hour, minute, second)


def times(match: re.Match[str]) -> str | None:
    """Times from and to: ``8-17 Uhr`` -> ``acht bis siebzehn Uhr``."""
    a, b, c, d = match["h"], match["m"], match["h2"], match["m2"]
    if int(a) > 24 or int(c) > 24 or int(b or 0) > 59 or int(d or 0) > 59:
        return None
    if not match["uhr"] and not (b and d):
        return None
    first = clock_words(a, b, word=bool(b)) if b and int(b) else cardinal(int(a)) if int(a) != 1 else "ein"
    return f"{first} bis {clock_words(c, d)}"


def duration(match: re.Match[str]) -> str:
    """Duration: ``in 2:05 Stunden`` -> ``in zwei Stunden fünf Minuten``."""
    names = ("Stunde", "Minute", "Sekunde")
    first = 0 if match["unit"][0] in "Sh" else 1
    if match["c"]:
        first = 0
    parts = [part for part in (match["a"], match["b"], match["c"]) if part]
    spoken = []
    for name, part in zip(names[first:], parts, strict=False):
        number = int(part)
        if number:
            spoken.append(f"{'eine' if number == 1 else cardinal(number)} {name}{'' if number == 1 else 'n'}")
    return " ".join(spoken) or match.group()


def ratio(match: re.Match[str]) -> str:
    """Ratio: ``2:1`` -> ``zwei zu eins``."""
    return " zu ".join(amount(part) for part in re.split(r"\s?:\s?", match.group()))
