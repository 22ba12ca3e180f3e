"""How English numbers, signs and abbreviations are read that nemo_text_processing's grammars read wrongly, or not.

The grammars keep what they are good at: plain numbers, ordinals, years, most dates and times. Rules stand in order, and
the first that fits wins.
"""

from __future__ import annotations

import re

from nemo_ext.text.languages.english_numbers import amount, cardinal, digits, in_pairs, ordinal, two_digits, year
from nemo_ext.text.languages.english_units import AMBIGUOUS, CURRENCIES, POWERS, UNITS
from nemo_ext.text.languages.english_words import (
    BEGINNERS,
    IN_PAIRS,
    LABELS,
    MONTHS,
    NAMES,
    PLACES,
    SAYING,
    SHORT_MONTHS,
    STREETS,
)
from nemo_ext.text.rules import (
    after,
    alternatives,
    before,
    first_word,
    last_word,
    roman,
    spelled,
)

B = "[ \u00a0\u202f\u2009]"  # a blank, of any width
NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
START = r"(?<![\w.,:/@#])(?<![\w.)]-)"
SIGN = rf"(?:(?<![\w)\].,-])[-+±]{B}?)?"
_SIGNS = {"-": "minus ", "+": "plus ", "±": "plus or minus "}
END = r"(?![\w@]|[.,:/-]?\d)"
UNIT = alternatives(UNITS)
CURRENCY = alternatives(CURRENCIES)
MONTH = "|".join(MONTHS)
SHORT_MONTH = alternatives(SHORT_MONTHS)
RANGE = rf"{B}?-{B}?"
WORD = "[A-Z][A-Za-z'-]+"
_FRACTIONS = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5)}
_FRACTIONS |= {"⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8)}
VULGAR = "".join(_FRACTIONS)


def stop_mark(match: re.Match[str]) -> str:
    """A full stop where that of an abbreviation ends the text, or a sentence that another follows."""
    return "." if match.group().endswith(".") and (not after(match) or after(match)[0].isupper()) else ""


# --- names of many digits ---------------------------------------------------------------------------------------------


def telephone(match: re.Match[str]) -> str | None:
    """Telephone number: ``555-1234`` -> ``five five five, one two three four``."""
    text = match.group()
    groups = re.findall(r"\d+", text)
    if not 7 <= sum(map(len, groups)) <= 16:
        return None
    spoken = ["eight hundred" if g == "800" and i < 2 else digits(g) for i, g in enumerate(groups)]
    return ("plus " if text.startswith("+") else "") + ", ".join(spoken)


_CALLING = frozenset("call dial called dialed calling phone ring dialing text".split())  # noqa: SIM905


def called(match: re.Match[str]) -> str | None:
    """Number to call: ``Call 911.`` -> ``Call nine one one.``."""
    near = last_word(re.sub(r"\d{3},? (?:or|and)$", "", before(match)).rstrip()) in _CALLING
    known = match.group() == "911" and last_word(before(match)) != "porsche"
    return digits(match.group()) if near or known else None


_CODES = (
    r"\b(?:ZIP|zip|PIN|pin|code|Code|passcode|password|account(?: number)?|serial(?: number)?|ISBN|SSN|ext\.|extension)"
)


def code_digits(match: re.Match[str]) -> str | None:
    """Code: ``ZIP code 90210`` -> ``ZIP code nine zero two one zero``."""
    announced = re.search(rf"{_CODES}(?: code)?(?: is| was)?:?$", before(match))
    return digits(match.group()) if announced and not first_word(after(match)).islower() else None


def dotted(match: re.Match[str]) -> str:
    """Version: ``2.0.1`` -> ``two point zero point one``."""
    front = "version " if match.group()[0] in "vV" and last_word(before(match)) != "version" else ""
    return front + " point ".join(amount(part) for part in re.findall(r"\d+", match.group()))


def paired(match: re.Match[str]) -> str | None:
    """Read in pairs: ``Boeing 747`` -> ``Boeing seven forty seven``."""
    if match["word"].lower() not in IN_PAIRS:
        return None
    return f"{match['word']} {in_pairs(int(match['n']))}"


def codes(match: re.Match[str]) -> str | None:
    """``A4``, ``B2B``, ``COVID-19``: letters by their names, numbers in words."""
    parts = re.findall(r"\d+|[A-Za-z]+", match.group())
    spoken = []
    for i, part in enumerate(parts):
        if part.isalpha():
            spoken.append(part if len(part) > 3 or not part.isupper() else spelled(part))
        elif len(part) == 3 and i:
            spoken.append(in_pairs(int(part)))
        else:
            spoken.append(amount(part))
    # a lone capital A would be the article
    return re.sub(r"\bA (?=[a-z])", "A-", " ".join(spoken))


# --- dates, times -----------------------------------------------------------------------------------------------------


def month_day(match: re.Match[str]) -> str | None:
    """Month and day: ``Jan. 5, 2012`` -> ``january fifth, twenty twelve``."""
    name, day = match["month"].rstrip("."), int(match["d"])
    month = name if name in MONTHS else MONTHS[SHORT_MONTHS[name]]
    if not 1 <= day <= 31:
        return None
    spoken = f"{month.lower()} {ordinal(day)}"
    if match["to"]:
        spoken += f" to {ordinal(int(match['to']))}"
    return spoken + (f"{match['comma']} {year(int(match['y']))}" if match["y"] else "")


def day_month(match: re.Match[str]) -> str | None:
    """Day and short month: ``24 Dec 2023`` -> ``the twenty fourth of december twenty twenty three``."""
    name, day = match["month"].rstrip("."), int(match["d"])
    if not 1 <= day <= 31:
        return None
    the = "" if last_word(before(match)) == "the" else "the "
    month = name if name in MONTHS else MONTHS[SHORT_MONTHS[name]]
    return f"{the}{ordinal(day)} of {month.lower()}" + (f" {year(int(match['y']))}" if match["y"] else "")


def iso_date(match: re.Match[str]) -> str | None:
    """ISO date: ``2023-12-24`` -> ``december twenty fourth twenty twenty three``."""
    of, month, day = (int(part) for part in match.groups())
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    return f"{MONTHS[month - 1].lower()} {ordinal(day)} {year(of)}"


def slash_day(match: re.Match[str]) -> str | None:
    """Day with a slash: ``on 3/4`` -> ``on march fourth``."""
    month, day = int(match["m"]), int(match["d"])
    dated = last_word(before(match)) in ("on", "since", "until", "by", "due", "dated")
    return f"{MONTHS[month - 1].lower()} {ordinal(day)}" if dated and 1 <= month <= 12 and 1 <= day <= 31 else None


def clock_words(hour: str, minute: str | None) -> str:
    """Hour and minute in words."""
    spoken = cardinal(int(hour))
    if minute and int(minute):
        spoken += f" {'oh ' if int(minute) < 10 else ''}{two_digits(int(minute))}"
    return spoken


def time(match: re.Match[str]) -> str | None:
    """Time of the half day: ``2:35 p.m. sharp`` -> ``two thirty five PM sharp``."""
    if not 0 < int(match["h"]) <= 12 or int(match["m"] or 0) > 59:
        return None
    return f"{clock_words(match['h'], match['m'])} {match['half'].upper()}M" + stop_mark(match)


def times(match: re.Match[str]) -> str | None:
    """Times from and to: ``9:00-5:30`` -> ``nine to five thirty``."""
    if max(int(match["h"]), int(match["h2"])) > 24 or max(int(match["m"] or 0), int(match["m2"] or 0)) > 59:
        return None
    if not (match["m"] and match["m2"]) and not match["half2"]:
        return None
    halves = [f" {half.upper()}M" if half else "" for half in (match["half"], match["half2"])]
    spoken = f"{clock_words(match['h'], match['m'])}{halves[0]} to {clock_words(match['h2'], match['m2'])}{halves[1]}"
    return spoken + (stop_mark(match) if match["half2"] else "")


def decade(match: re.Match[str]) -> str:
    """Decade: ``830s`` -> ``eight thirties``."""
    number = int(match["n"])
    if number < 100:
        spoken = two_digits(number)
    elif number % 1000 == 0:
        spoken = cardinal(number)
    else:
        spoken = in_pairs(number)
        if number % 100 == 0:
            spoken = f"{two_digits(number // 100)} hundred"
    *front, last = spoken.split(" ")
    return " ".join([*front, last[:-1] + "ies" if last.endswith("y") else last + "s"])


_SCORE = re.compile(
    r"ratio|scale|score|odds|aspect|won\b|win\b|beat\b|lost\b|led\b|mix|format|screen|defeat|lead\b", re.I
)


def ratio(match: re.Match[str]) -> str | None:
    """Ratio: ``a ratio of 2:1`` -> ``a ratio of two to one``."""
    parts = re.split(r"\s?:\s?", match.group())
    clock = len(parts) == 2 and len(parts[0]) <= 2 and len(parts[1]) == 2 and int(parts[0]) < 25 and int(parts[1]) < 60
    if clock and not _SCORE.search(before(match, 40)) and not _SCORE.search(after(match, 20)):
        return None
    if len(parts) == 3 and all(len(part) == 2 for part in parts[1:]):
        return None  # a duration, for the grammars
    return " to ".join(amount(part) for part in parts)


# --- money, measures --------------------------------------------------------------------------------------------------


def money(match: re.Match[str]) -> str:
    """Money: ``$5/month`` -> ``five dollars per month``."""
    one, many, cent, cents = CURRENCIES[match["c"]]
    integer, _, fraction = match["n"].partition(".")
    sign = _SIGNS.get((match["sign"] or "")[:1], "")
    scale = match["scale"]
    per = f" per {each(match['per'])}" if match["per"] else ""
    if scale:
        return f"{sign}{amount(match['n'])} {POWERS.get(scale, scale)} {many}{per}"
    value = int(integer.replace(",", "")[:18])
    if len(fraction) != 2 or not cent:
        return f"{sign}{amount(match['n'])} {one if match['n'] == '1' else many}{per}"
    parts = [f"{amount(integer)} {one if value == 1 else many}"] if value or not int(fraction) else []
    if int(fraction):
        parts.append(f"{two_digits(int(fraction))} {cent if int(fraction) == 1 else cents}")
    return sign + " ".join(parts) + per


def money_range(match: re.Match[str]) -> str:
    """Range of money: ``$5-10`` -> ``five to ten dollars``."""
    scale = match["scale"]
    power = f" {POWERS.get(scale, scale)}" if scale else ""
    return f"{amount(match['a'])} to {amount(match['b'])}{power} {CURRENCIES[match['c']][1]}"


_WORD_PER = {"mo": "month", "yr": "year", "wk": "week", "hr": "hour", "d": "day"}


def each(text: str) -> str:
    """So many a day: ``20 requests/second`` -> ``twenty requests per second``."""
    if text in _WORD_PER:
        return _WORD_PER[text]
    return "second squared" if text == "s²" else UNITS[text][0] if text in UNITS else text


def measure(match: re.Match[str]) -> str | None:
    """Measure: ``60 km/h`` -> ``sixty kilometers per hour``."""
    number, unit = match["n"], match["u"]
    label = last_word(before(match)) in PLACES
    if label or (unit in AMBIGUOUS and not match["blank"]):
        return None
    if unit == "in." and first_word(after(match)).istitle() and not re.search(r"\d", before(match)[-12:]):
        return None  # "I let 5 in. They ..."
    single = number.lstrip("-+± ") == "1"
    spoken = f"{amount(number)} {UNITS[unit][0 if single else 1]}"
    per = f" per {each(match['per'])}" if match["per"] else ""
    return spoken + per + ("" if match["per"] else stop_mark(match))


def unit_of_compound(match: re.Match[str]) -> str:
    """A number and its unit in the singular."""
    return f"{amount(match['n'])} {UNITS[match['u']][0]}"


def feet(match: re.Match[str]) -> str:
    """Feet and inches: ``5'10\"`` -> ``five feet ten inches``."""
    feet, inches = match["ft"], match["in"] or match["in2"]
    spoken = f"{amount(feet)} {'foot' if feet == '1' else 'feet'}"
    return spoken + (f" {amount(inches)} {'inch' if inches == '1' else 'inches'}" if inches else "") + stop_mark(match)


_NOT_POWER = (
    r"tv|tvs|video|videos|screen|screens|monitor|display|resolution|camera|run|race|film|movie|footage|uhd|marathon"
)


def power(match: re.Match[str]) -> str | None:
    """Power of ten: ``10M people`` -> ``ten million people``."""
    scale = match["scale"]
    following = first_word(after(match)).lower()
    if last_word(before(match)) in PLACES or scale not in ("k", "K", "M", "B", "bn"):
        return None
    if scale in "MB" and first_word(after(match))[:1].isupper() and after(match)[0].isalpha():
        return None  # "221B Baker Street"
    short = len(match["n"]) <= 2 and scale in "kK"
    if short and (re.fullmatch(_NOT_POWER, following) or (not following and match["n"] in ("4", "8"))):
        return f"{amount(match['n'])} K"
    return f"{amount(match['n'])} {POWERS[scale]}"


# --- fractions, ranges, arithmetic ------------------------------------------------------------------------------------


def fraction_words(over: int, under: int) -> str | None:
    """``3``, ``4`` -> ``three quarters``; None where nobody says so."""
    if under < 2 or under > 100 or not over:
        return None
    name = {2: "half", 4: "quarter"}.get(under) or ordinal(under)
    plural = {"half": "halves"}.get(name, name + "s")
    return f"{cardinal(over)} {name if over == 1 else plural}"


def half_of(rest: str) -> str:
    """``½`` before what follows: half, half a, half an or one half."""
    word = first_word(rest)
    if not word or word in ("of", "a", "an", "the", "as", "and", "my", "his", "her", "their", "our", "your", "that"):
        return "half"
    if not word.islower() or word.endswith("s"):
        return "one half"
    return "half an" if word[0] in "aeiou" or word.startswith("hour") else "half a"


def vulgar(match: re.Match[str]) -> str | None:
    """Fraction sign: ``½ cup`` -> ``half a cup``."""
    over, under = _FRACTIONS[match.group()]
    return half_of(after(match)) if under == 2 else fraction_words(over, under)


_RATED = re.compile(r"rat(?:ed|ing)|scor(?:ed?|ing)|gave (?:it|him|her|them)|grade|mark(?:ed)?|got", re.I)


def fraction(match: re.Match[str]) -> str | None:
    """Fraction: ``3/4`` -> ``three quarters``."""
    under = int(match["b"])
    if under in (5, 10, 100) and (_RATED.search(before(match, 40)) or "." in match["a"]):
        return f"{amount(match['a'])} out of {cardinal(under)}"
    if "." in match["a"]:
        return None
    over = int(match["a"])
    if over >= under:
        return None
    return half_of(after(match)) if (over, under) == (1, 2) else fraction_words(over, under)


def mixed(match: re.Match[str]) -> str | None:
    """Mixed number: ``1½`` -> ``one and a half``."""
    over, under = _FRACTIONS[match["v"]] if match["v"] else (int(match["a"]), int(match["b"]))
    part = fraction_words(over, under) if over < under else None
    if part is None:
        return None
    return f"{amount(match['n'])} and {part.replace('one ', 'a ', 1) if over == 1 and under in (2, 4) else part}"


def is_year(text: str) -> bool:
    """Whether four digits look like a year."""
    return bool(re.fullmatch(r"1[0-9]\d\d|20\d\d", text))


def number_range(match: re.Match[str]) -> str | None:
    """Range of measures: ``5-6 km`` -> ``five to six kilometers``."""
    a, b = match["a"], match["b"]
    if re.search(r"\b(?:ISBN|code|model|number|serial)\W*$", before(match), re.I):
        return None
    years = is_year(a) and (is_year(b) or len(b) == 2)
    first = year(int(a)) if years else amount(a)
    last = year(int(b)) if years and len(b) == 4 else amount(b)
    unit = match["u"]
    return f"{first} to {last}" + (f" {UNITS[unit][1]}{stop_mark(match)}" if unit else "")


_OPERATORS = {"+": "plus", "-": "minus", "—": "minus", "x": "times", "×": "times", "*": "times", "·": "times"}
_OPERATORS |= {"/": "divided by", "÷": "divided by", "=": "equals", "<": "is less than", ">": "is greater than"}
_OPERATORS |= {"≤": "is at most", "≥": "is at least", "≈": "is about", "≠": "is not equal to", "±": "plus or minus"}
_TERM = rf"[-+]?{NUMBER}(?:\s?[-—+x×*·/÷]\s?{NUMBER})*"
EQUATION = rf"{START}{_TERM}(?:\s?[=<>≤≥≈≠]\s?{_TERM})+{END}"


def equation(match: re.Match[str]) -> str:
    """Equation: ``10 - 4 = 6`` -> ``ten minus four equals six``."""
    found = re.findall(rf"{NUMBER}|[^\d\s]", match.group())
    return " ".join(_OPERATORS[part] if part in _OPERATORS else amount(part) for part in found)


def dimensions(match: re.Match[str]) -> str:
    """``2 x 3``: times; ``1920x1080``: by."""
    parts = re.split(r"\s?[x×]\s?", match.group())
    tight = " " not in match.group() or re.match(rf"(?:{UNIT}|feet|foot|inch|meter|pixels)(?!\w)", after(match))
    return (" by " if tight else " times ").join(amount(part) for part in parts)


# --- Roman numerals ---------------------------------------------------------------------------------------------------


def roman_after(match: re.Match[str]) -> str | None:
    """Name and Roman number: ``Louis XIV`` -> ``Louis the fourteenth``."""
    word, number = match["word"], roman(match["r"])
    if number is None or number > 100:
        return None
    if word.lower() in LABELS:
        return f"{word} {cardinal(number)}" if len(match["r"]) > 1 or match["r"] in "IVX" else None
    if len(match["r"]) > 1 and not re.fullmatch("[IVX]+", match["r"]):
        return None
    run = re.search(rf"(?:{WORD}\s)*$", match.string[max(0, match.start() - 60) : match.start()])
    names = {word.lower(), *(run.group().lower().split() if run else ())}
    if names & NAMES:
        single = len(match["r"]) == 1
        if single and (match["r"] not in "IVX" or word.lower() == "malcolm" or not ruler_follows(match)):
            return None
        return f"{word} the {ordinal(number)}"
    return f"{word} {cardinal(number)}" if len(match["r"]) > 1 else None


def ruler_follows(match: re.Match[str]) -> bool:
    """Whether a single letter behind a name is a number: not in ``George V. Smith`` or ``and John I like``."""
    rest = match.string[match.end() :]
    if re.match(r"\.?\s[A-Z]", rest) and rest[:1] == ".":
        return False
    verb = r"\s(?:am|was|have|had|like|think|know|will|would|can|do|did|saw|met)\b"
    return match["r"] != "I" or not re.match(verb, rest)


def roman_ordinal(match: re.Match[str]) -> str | None:
    """Roman ordinal: ``the XX century`` -> ``the twentieth century``."""
    number = roman(match["r"])
    if number is None or (match["r"] == "I" and last_word(before(match)) != "the"):
        return None
    return ordinal(number)


# --- words ------------------------------------------------------------------------------------------------------------


def street(match: re.Match[str]) -> str | None:
    """Street: ``12 Oak Dr.`` -> ``twelve Oak Drive.``."""
    text, rest = before(match), after(match)
    numbered = re.search(r"\d+[a-z]{0,2}(?:\s[A-Z][\w.']*){0,3}$", text)
    named = re.search(r"(?:[A-Z][\w']+|\d(?:st|nd|rd|th))$", text)
    short = match["s"]
    if short in ("St", "Dr", "Ct", "Pl", "Cir", "Ter", "Sq", "Av"):
        closes = not rest or not rest[0].isupper() or first_word(rest).lower() in BEGINNERS
        if not (numbered and re.search(r"[A-Za-z]$|\d(?:st|nd|rd|th)$", text)) and not (named and closes):
            return None if short != "St" or rest[:1].isupper() else "Street" + stop_mark(match)
    elif not named:
        return None
    return STREETS[short] + ("." if not rest or (first_word(rest).lower() in BEGINNERS and rest[0].isupper()) else "")


def answered_no(match: re.Match[str]) -> str | None:
    """``no.`` before a number: the word and the end of a sentence where something has just been answered."""
    word = last_word(re.sub(r" (?:me|him|her|us|them|you)$", "", before(match)))
    answered = re.search(r"(?:answer|reply|response|verdict|vote|result) (?:is|was)(?: a)?$", before(match), re.I)
    return "no." if match.group()[0] == "n" and (word in SAYING or answered) else None


def run_without_blanks(match: re.Match[str]) -> str:
    """Fifty characters and more, which no grammar has time for: its digits one by one."""
    return re.sub(r"\d+", lambda m: f" {digits(m.group())} ", match.group()).strip()
