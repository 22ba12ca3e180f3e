"""How German numbers, signs and abbreviations are read: one table of rules, the first that fits wins.

The German grammars of nemo_text_processing put every ordinal into the nominative, take ``3.10`` for a date, spell mail
addresses letter by letter and leave ``14:30``, ``2:1`` and ``1 Hund`` unread, at seconds a sentence. So everything with
a digit in it is read here, and German needs none of them.
"""

from __future__ import annotations

import re

from nemo_ext.text.languages.german_numbers import cardinal, decimal, digits, ordinal, year
from nemo_ext.text.languages.german_units import AMBIGUOUS, CURRENCIES, UNITS
from nemo_ext.text.languages.german_words import (
    BEGINNERS,
    BYNAMES,
    INTRODUCERS,
    LABELS,
    MONTHS,
    ORDINAL_NOUNS,
    gender,
    one,
    ordinal_ending,
    regnal_ending,
)
from nemo_ext.text.rules import (
    after,
    alternatives,
    before,
    first_word,
    last_word,
    roman,
    spelled,
    whole,
)

B = "[ \u00a0\u202f\u2009]"  # a blank, of any width
NUMBER = rf"(?:\d{{1,3}}(?:[.']\d{{3}})+(?!\d)|\d{{1,3}}(?:{B}\d{{3}})+(?!\d)|\d+)(?:,\d+)?"
START = r"(?<![\w.,:/@#])(?<![\w.)]-)"
SIGN = rf"(?:(?<![\w)\].,-])[-+±]{B}?)?"
END = r"(?![\w@]|[.,:/-]?\d)"
_SIGNS = {"-": "minus ", "+": "plus ", "±": "plus minus "}
UNIT = alternatives(UNITS)
CURRENCY = alternatives(CURRENCIES)
NOUN = "[A-ZÄÖÜ][a-zäöüß]+"
_FRACTIONS = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5)}
_FRACTIONS |= {"⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8)}
VULGAR = "".join(_FRACTIONS)
RANGE = rf"{B}?-{B}?"
PHONE_WORDS = r"(?:Tel(?:efon(?:nummer)?)?|Fax|Handy(?:nummer)?|Mobil(?:nummer)?|Rufnummer|Hotline|Durchwahl|Notruf)"


def amount(text: str, one_is: str = "eins") -> str:
    """A number as written, with its sign, in words; ``one_is``: how a lone 1 is read."""
    sign = _SIGNS.get(text[:1], "")
    plain = re.sub(r"[.'\s]", "", text.lstrip("-+±"))
    integer, _, fraction = plain.partition(",")
    number = whole(integer)
    if fraction:
        spoken = decimal(integer, fraction) if number is not None else f"{digits(integer)} Komma {digits(fraction)}"
    elif number == 1:
        spoken = one_is
    else:
        spoken = digits(integer) if number is None else cardinal(number)
    return sign + spoken


def is_one(text: str) -> bool:
    """Whether a number as written is one, with or without a sign."""
    return text.lstrip("-+± ") == "1"


def closing(match: re.Match[str]) -> str:
    """The full stop of a sentence that an abbreviation ends: behind it nothing comes, or a word that begins one."""
    rest = after(match)
    return "." if not rest or (rest[0].isupper() and first_word(rest).lower() in BEGINNERS) else ""


def counted(match: re.Match[str], number: str, of: tuple[str, str, str]) -> str:
    """A number and its unit, the unit in the number it asks for."""
    single, many, kind = of
    if is_one(number):
        return f"{amount(number, one(kind, last_word(before(match)), before(match)))} {single}"
    return f"{amount(number)} {many}"


# --- numbers that are names: versions, telephones, sections -----------------------------------------------------------


def dotted(match: re.Match[str]) -> str:
    """Numbers with ``Punkt`` between them."""
    return " Punkt ".join(amount(part) for part in re.findall(r"\d+", match.group()))


def version(match: re.Match[str]) -> str | None:
    """Version: ``2.0.1`` -> ``zwei Punkt null Punkt eins``."""
    parts = match.group("v").split(".")
    thousands = all(len(part) == 3 for part in parts[1:]) and not re.search(r"\bIPv?\d?\b", before(match))
    return None if thousands else dotted(match)


def section(match: re.Match[str]) -> str:
    """Section: ``Abschnitt 3.2. Danach`` -> ``Abschnitt drei Punkt zwei. Danach``."""
    spoken = " Punkt ".join(amount(part) for part in match.group("s").split("."))
    new = not after(match) or after(match)[0].isupper()
    return spoken + ("." if match.group("stop") and new else "")


def phone(match: re.Match[str]) -> str | None:
    """Telephone number with its word: ``Tel. 030 12`` -> ``Telefon null drei null eins zwei``."""
    text = match.group()
    count = len(re.findall(r"\d", text))
    if count < 3:
        return None
    return ("plus " if text.startswith("+") else "") + digits(text)


def free_phone(match: re.Match[str]) -> str | None:
    """Without a word that announces it: a plus and a country, or a zero, and separators."""
    return phone(match) if 6 <= len(re.findall(r"\d", match.group())) <= 16 else None


# --- money, units -----------------------------------------------------------------------------------------------------


def money(match: re.Match[str]) -> str | None:
    """Money: ``-12,50 €`` -> ``minus zwölf Euro fünfzig``."""
    number, of = match["n"], CURRENCIES[re.sub(r"\s", "", match["c"])]
    integer, _, fraction = number.partition(",")
    sign = _SIGNS.get((match["sign"] or "")[:1], "")
    if len(fraction) == 2:
        cents = int(fraction)
        if not int(re.sub(r"\D", "", integer)[:18]) and cents and of[0] in ("Euro", "Dollar", "U S Dollar"):
            return f"{sign}{'ein' if cents == 1 else cardinal(cents)} Cent"
        spoken = counted(match, integer, of)
        return sign + spoken + (f" {cardinal(cents)}" if cents else "")
    return sign + counted(match, number, of)


def million(match: re.Match[str]) -> str:
    """Millions: ``1 Mio. Euro`` -> ``eine Million Euro``."""
    scale = match["scale"]
    if scale.startswith("Ts"):
        of = ("tausend", "tausend", "n")
    else:
        one_is = "Milliarde" if scale.startswith(("Mr", "Milliarde")) else "Billion" if scale[0] == "B" else "Million"
        of = (one_is, one_is + "n" if one_is.endswith("e") else one_is + "en", "f")
    sign = _SIGNS.get((match["sign"] or "")[:1], "")
    currency = match["c"] and CURRENCIES[re.sub(r"\s", "", match["c"])][1]
    return sign + counted(match, match["n"], of) + (f" {currency}" if currency else "")


def each(text: str) -> str:
    """What stands behind the slash of a compound unit: ``h``, ``m²``, ``100 km``, ``Monat``."""
    number = re.match(r"(\d+)\s?(.*)", text)
    if number:
        of = UNITS.get(number[2])
        return f"{cardinal(int(number[1]))} {of[1] if of else number[2]}"
    if text == "s²":
        return "Sekunde zum Quadrat"
    return UNITS[text][0] if text in UNITS else text


def measure(match: re.Match[str]) -> str | None:
    """Measure: ``-5 °C`` -> ``minus fünf Grad Celsius``."""
    unit = match["u"]
    label = last_word(before(match)) in LABELS
    if unit in AMBIGUOUS and (label or (not match["blank"] and unit not in ("V", "A", "L"))):
        return None
    if label and len(unit) == 1 and unit.isalpha():
        return None
    spoken = counted(match, match["n"], UNITS[unit])
    per = match["per"]
    if per == "s²":
        return spoken + " pro Sekunde Quadrat"
    return spoken + (f" pro {each(per)}" if per else "")


def unit_in_compound(match: re.Match[str]) -> str | None:
    """Unit in a compound: ``20-kg-Sack`` -> ``zwanzig-Kilogramm-Sack``; but ``4K-Video`` has none."""
    if match["u"] in AMBIGUOUS and not match["hyphen"]:
        return None
    return f"{amount(match['n'], 'ein')}-{(UNITS | CURRENCIES)[match['u']][0]}"


def money_per(match: re.Match[str]) -> str:
    """Money per something: ``5 €/Monat`` -> ``fünf Euro pro Monat``."""
    spoken = money(match)
    return f"{spoken} pro {each(match['per'])}"


def slash_per(match: re.Match[str]) -> str:
    """So much a day: ``3 Tassen/Tag`` -> ``drei Tassen pro Tag``."""
    return f"{match['a']} pro {each(match['b'])}"


# --- ordinals, Roman numerals -----------------------------------------------------------------------------------------


def following_noun(rest: str) -> str:
    """The noun that an ordinal counts: the first capitalised word, adjectives in lower case passed over."""
    found = re.match(rf"(?:[a-zäöüß]+e[nrsm]?\s)?({NOUN})", rest)
    return found[1] if found else ""


def is_ordinal(match: re.Match[str], number: int | None) -> bool:
    """Whether the full stop behind a number makes it an ordinal rather than ends a sentence."""
    text, rest = before(match), after(match)
    word, following = last_word(text), first_word(rest)
    if number is None or number > 999 or number == 0:
        return False
    if word in INTRODUCERS:
        return True
    if not following:
        return word in ("als", "wurde", "wird", "werde") and number < 100
    if following[0].islower():
        return word not in LABELS
    if following.lower() in BEGINNERS or number > 99:
        return following.lower() in ORDINAL_NOUNS
    if any(following.lower().endswith(noun) for noun in ORDINAL_NOUNS):
        return word not in LABELS
    # "Wir zählten 12. Mehr ..." ends a sentence; "2. Platz" and "bis 3. Klasse" do not
    if re.search(r"(?:[Ss]tr|[Nn]r|S|Abs|Art|Kap|Bd)\.$|\d,$", text):
        return False  # "Hauptstr. 5. Siehe ...", "3, 4, 5. Siehe ..."
    return not text or text[-1] in ".,:;!?(" or word in ("bis", "ab", "seit", "nach", "vor", "und", "oder")


def ordinal_number(match: re.Match[str]) -> str | None:
    """Ordinal: ``die 2. Klasse`` -> ``die zweite Klasse``."""
    number = whole(match["n"])
    if not is_ordinal(match, number) or number is None:
        return None
    rest = after(match)
    new_sentence = first_word(rest)[:1].isupper() and first_word(rest).lower() in BEGINNERS
    noun = "" if new_sentence else following_noun(rest)
    return ordinal(number, ordinal_ending(before(match), noun)) + ("." if new_sentence or not rest else "")


def ordinal_range(match: re.Match[str]) -> str:
    """Ordinals from and to: ``die 3.-5. Klasse`` -> ``die dritte bis fünfte Klasse``."""
    noun = following_noun(after(match))
    ending = ordinal_ending(before(match), noun)
    return f"{ordinal(int(match['a']), ending)} bis {ordinal(int(match['b']), ending)}"


def roman_ordinal(match: re.Match[str]) -> str | None:
    """Roman ordinal: ``im XX. Jahrhundert`` -> ``im zwanzigsten Jahrhundert``."""
    number = roman(match["r"])
    noun = following_noun(after(match))
    if number is None or not noun:
        return None
    known = any(noun.lower().endswith(word) for word in (*ORDINAL_NOUNS, "jahrhunderts", "weltkriegs", "weltkrieges"))
    article = last_word(before(match)) in INTRODUCERS and len(match["r"]) > 1
    return ordinal(number, ordinal_ending(before(match), noun)) if known or article else None


def roman_listed(match: re.Match[str]) -> str | None:
    """``des XIX. und XX. Jahrhunderts``: the first of two."""
    number = roman(match["r"])
    return None if number is None else ordinal(number, ordinal_ending(before(match), "Jahrhundert"))


def regnal(match: re.Match[str]) -> str | None:
    """Ruler: ``Ludwig XIV. war`` -> ``Ludwig der vierzehnte war``."""
    name, number, stop, rest = match["name"], roman(match["r"]), match["stop"], after(match)
    if number is None or name.lower() in LABELS or name in ("Weltkrieg", "Teil") or number > 40:
        return None
    if not stop and len(match["r"]) == 1:
        return None
    titled = last_word(before(match)) in (
        "kaiser",
        "könig",
        "papst",
        "zar",
        "kaiserin",
        "königin",
        "zarin",
        "herzog",
        "fürst",
    )
    if first_word(rest).lower() in BYNAMES:
        titled = True
    if len(match["r"]) == 1 and not titled and rest[:1].isupper() and first_word(rest).lower() not in BEGINNERS:
        return None  # "Anna V. Schmidt"
    if not stop:
        return f"{name} {cardinal(number)}"
    article, ending = regnal_ending(name, before(match)).split("|")
    closes = not rest or (rest[:1].isupper() and first_word(rest).lower() in BEGINNERS)
    return f"{name} {article}{ordinal(number, ending)}" + ("." if closes else "")


def roman_label(match: re.Match[str]) -> str | None:
    """Label and Roman number: ``Kapitel IV`` -> ``Kapitel vier``."""
    number = roman(match["r"])
    return None if number is None else f"{match['label']} {cardinal(number)}"


# --- fractions, ranges, arithmetic ------------------------------------------------------------------------------------


def fraction_words(over: int, under: int) -> str | None:
    """``3``, ``4`` -> ``drei Viertel``; None where nobody says so."""
    if under < 2 or under > 1000 or not over:
        return None
    number = "ein" if over == 1 else cardinal(over)
    if under == 2:
        return f"{number} {'halb' if over == 1 else 'halbe'}"
    return f"{number} {ordinal(under, 'el').capitalize()}"


def half(match: re.Match[str]) -> str:
    """Half of a noun: ``½ Liter`` -> ``ein halber Liter``."""
    noun = match["noun"]
    kind = gender(noun)
    article = one(kind, last_word(before(match)), before(match))
    adjective = {"eine": "halbe", "einer": "halben", "einem": "halben", "einen": "halben"}.get(article)
    return f"{article} {adjective or ('halbes' if kind == 'n' else 'halber')} {noun}"


def fraction(match: re.Match[str]) -> str | None:
    """Fraction: ``3/4`` -> ``drei Viertel``."""
    over, under = int(match["a"]), int(match["b"])
    if over >= under or under > 100 or last_word(before(match)) in LABELS:
        return None
    return fraction_words(over, under)


def mixed(match: re.Match[str]) -> str | None:
    """Mixed number: ``2½`` -> ``zweieinhalb``."""
    over, under = _FRACTIONS[match["v"]] if match["v"] else (int(match["a"]), int(match["b"]))
    if over >= under:
        return None
    number = cardinal(int(match["n"]))
    number = "ein" if match["n"] == "1" else number
    if under == 2:
        return f"{number}einhalb"
    part = fraction_words(over, under)
    return part and f"{'eins' if match['n'] == '1' else number} {'und ' if over > 1 or under > 2 else ''}{part}"


def vulgar(match: re.Match[str]) -> str | None:
    """Fraction sign: ``¾`` -> ``drei Viertel``."""
    return fraction_words(*_FRACTIONS[match.group()])


_NOT_RANGE = re.compile(r"\b(?:ISBN|IBAN|Az|Nummer|Code|Kennzeichen)\W*$", re.IGNORECASE)


def number_range(match: re.Match[str]) -> str | None:
    """Range of amounts: ``5-6 km`` -> ``fünf bis sechs Kilometer``."""
    a, b, unit = match["a"], match["b"], match["u"]
    if _NOT_RANGE.search(before(match)) or match.string[match.end() :].lstrip()[:1] == "=":
        return None
    if not unit and _is_score(match, a, b):
        return f"{amount(a)} zu {amount(b)}"
    years = re.fullmatch(r"1[1-9]\d\d|20\d\d", a) and re.fullmatch(r"1[1-9]\d\d|20\d\d|\d\d", b) and not unit
    first = year(int(a)) if years else amount(a, "ein" if after(match)[:1].isupper() or unit else "eins")
    last = year(int(b)) if years and len(b) == 4 else amount(b)
    if not unit:
        return f"{first} bis {last}"
    of = UNITS.get(unit) or CURRENCIES[unit]
    return f"{first} bis {last} {of[1]}" + (f" pro {each(match['per'])}" if match["per"] else "")


_OF_A_MATCH = re.compile(
    r"\b(?:ge(?:wann|winnt|wannen|wonnen)|sieg\w*|verlor\w*|verliert|unterlag\w*|schlug\w*|schlägt|spielt\w*|remis|"
    r"unentschieden|\w*(?:spiel|sieg|niederlage|erfolg|führung|endstand|halbzeitstand|satz|tor)|führt\w*)\b",
    re.IGNORECASE,
)


def _is_score(match: re.Match[str], a: str, b: str) -> bool:
    """Whether ``3-1`` is the result of a match: in a sentence about one, or a range that would go down."""
    if not (a.isdigit() and b.isdigit() and len(a) < 4 and len(b) < 4):
        return False
    counted = first_word(after(match))  # "3-5 Kinder spielten", but "der 3-1 Sieg"
    if counted[:1].isupper() and not _OF_A_MATCH.fullmatch(counted):
        return False
    sentence = before(match).rpartition(". ")[2] + re.split(r"[.!?](?:\s|$)", after(match), maxsplit=1)[0]
    return bool(_OF_A_MATCH.search(sentence)) and last_word(before(match)) not in ("von", "zwischen", "minute")


_OPERATORS = {
    "+": "plus",
    "-": "minus",
    "—": "minus",
    "x": "mal",
    "×": "mal",
    "*": "mal",
    "·": "mal",
    "/": "geteilt durch",
}
_OPERATORS |= {":": "geteilt durch", "÷": "geteilt durch", "=": "gleich", "<": "kleiner als", ">": "größer als"}
_OPERATORS |= {"≤": "kleiner gleich", "≥": "größer gleich", "≈": "ungefähr gleich", "≠": "ungleich", "±": "plus minus"}
_TERM = rf"[-+]?{NUMBER}"
EQUATION = (
    rf"{START}{_TERM}(?:\s?[-—+x×*·/:÷]\s?{NUMBER})*(?:\s?[=<>≤≥≈≠]\s?{_TERM}(?:\s?[-—+x×*·/:÷]\s?{NUMBER})*)+{END}"
)


def equation(match: re.Match[str]) -> str:
    """Every part of it: numbers in words, operators by their names, and a minus before a number as a sign."""
    found = re.findall(rf"{NUMBER}|[^\d\s]", match.group())
    return " ".join(_OPERATORS[part] if part in _OPERATORS else amount(part) for part in found)


def calculation(match: re.Match[str]) -> str:
    """Calculation: ``3 x 4 m`` -> ``drei mal vier Meter``."""
    found = re.findall(rf"{NUMBER}|[^\d\s]", match.group())
    return " ".join(
        _OPERATORS[part] if part in _OPERATORS else amount(part, "ein" if "x" in found else "eins") for part in found
    )


# --- numbers inside words, plain numbers ------------------------------------------------------------------------------


def compound(match: re.Match[str]) -> str:
    """``5-jährig``, ``3-Zimmer-Wohnung``, ``100%ig``: the number becomes a part of the word."""
    number, rest = match["n"], match["rest"]
    spoken = amount(number, "ein").replace(" ", "-")
    if rest.startswith(("%", " %")):
        return spoken + "prozent" + re.sub(r"^\s?%-?", "", rest)
    rest = re.sub(r"^(-?)€", r"\1Euro", rest)
    if rest[0] == "-" and rest[1:2].isupper():
        return spoken + rest
    return spoken + rest.lstrip("-")


def decade(match: re.Match[str]) -> str:
    """Decade: ``1980er`` -> ``neunzehnhundertachtziger``."""
    number = int(match["n"])
    spoken = year(number) if number >= 1100 else cardinal(number)
    return spoken + match["er"]


def code(match: re.Match[str]) -> str | None:
    """``CO2``, ``A4``, ``MP3``, ``3D``: letters by their names, numbers in words."""
    text = match.group()
    parts = re.findall(r"\d+|[^\W\d_]+", text)
    letters = [part for part in parts if part.isalpha()]
    if any(len(part) > 4 or (len(part) > 1 and not part.isupper()) for part in letters):
        return " ".join(amount(part) if part.isdigit() else part for part in parts)
    return " ".join(amount(part) if part.isdigit() else spelled(part) for part in parts)


def one_noun(match: re.Match[str]) -> str | None:
    """One before a noun: ``1 Stunde`` -> ``eine Stunde``."""
    noun = match["noun"]
    word = last_word(before(match))
    if word in LABELS or noun.lower() in BEGINNERS or noun in MONTHS:
        return None
    if noun == "Uhr":
        return "ein"
    return one(gender(noun), word, before(match))


def postcode(match: re.Match[str]) -> str | None:
    """Postcode."""
    return digits(match["n"])


def plain(match: re.Match[str]) -> str:
    """Number: ``1 000`` -> ``eintausend``."""
    number = match["n"]
    if re.fullmatch(r"1[1-9]\d\d", number) and not match["sign"]:
        return year(int(number))
    sign = _SIGNS.get((match["sign"] or "")[:1], "")
    return sign + amount(number)


def point(match: re.Match[str]) -> str:
    """Decimal point: ``3.10`` -> ``drei Punkt eins null``."""
    sign = _SIGNS.get((match["sign"] or "")[:1], "")
    return f"{sign}{amount(match['a'])} Punkt {digits(match['b'])}"


def leftover(match: re.Match[str]) -> str:
    """Whatever digits no other rule has read, with blanks where they touch letters."""
    text, start, end = match.string, match.start(), match.end()
    front = " " if start and text[start - 1].isalnum() else ""
    back = " " if end < len(text) and text[end].isalnum() else ""
    return front + amount(match.group()) + back


ABBREVIATED_LABELS = {"Kap.": "Kapitel", "Bd.": "Band", "Abs.": "Absatz", "Art.": "Artikel", "Nr.": "Nummer"}
ABBREVIATED_LABELS |= {"Abb.": "Abbildung", "Tab.": "Tabelle", "S.": "Seite"}
