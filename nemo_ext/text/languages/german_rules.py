"""The table of rules of German: the first that fits a span reads it; german_readings.py says how."""

# ruff: noqa: E501 (one rule, one row)
from __future__ import annotations

import re
from collections.abc import Callable

from nemo_ext.text.languages import german_dates as dates
from nemo_ext.text.languages import german_readings as read
from nemo_ext.text.languages.german_numbers import cardinal, digits, year
from nemo_ext.text.languages.german_units import CURRENCIES
from nemo_ext.text.languages.german_words import DAYS, LABELS, gender
from nemo_ext.text.rules import Rule, address_rules, after, alternatives, before, first_word, roman


def _rule(
    name: str, pattern: str, how: Callable[[re.Match[str]], str | None], *examples: tuple[str, str], flags: int = 0
) -> Rule:
    return Rule(name, re.compile(pattern, flags), how, examples)


_S = rf"(?P<sign>{read.SIGN})"
_ROMANS = r"(?P<r>[IVXLCDM]+)"
_PERS = rf"(?:100\s?km|s²|{read.UNIT}|[A-ZÄÖÜ][a-zäöüß]+)"

RULES: tuple[Rule, ...] = (
    *address_rules(
        {".": "Punkt", "@": "ät", "-": "Bindestrich", "_": "Unterstrich", "/": "Schrägstrich", "www": "W W W",
         ":": "Doppelpunkt", "~": "Tilde", "?": "Fragezeichen", "=": "gleich", "&": "und", "#": "Raute", "+": "plus",
         "%": "Prozent", "com": "com", "org": "org", "net": "net", "info": "info"},
        read.amount,
    ),
    _rule("telephone number with its word", r"(?<=\s)\+?[\d(][\d\s()/.-]*\d(?![\d,])", lambda m: read.phone(m) if re.search(rf"\b{read.PHONE_WORDS}[.:]*(?:\s(?:ist|lautet|unter|nr\.?|nummer))?:?$", before(m), re.I) else None,
          ("Tel. 030 12 34 56", "Telefon null drei null eins zwei drei vier fünf sechs")),
    _rule("telephone number", rf"(?<![\w.,/+-])(?:\+\d{{1,3}}(?:{read.B}?[/(-]?{read.B}?\(?\d+\)?){{1,6}}|\(?0\d{{2,5}}\)?{read.B}?[-/{read.B[1:]}{read.B}?\d{{2,}}(?:[-{read.B[1:]}\d+)*)(?![\w,]|[.:]\d)", read.free_phone,
          ("0800/123456", "null acht null null eins zwei drei vier fünf sechs")),
    _rule("emergency number", r"(?<![\w.,:/-])1(?:10|12|16 ?117)(?![\w,]|[.:]\d)(?!\s?[€%])", lambda m: digits(m.group()) if re.search(r"\b(?:w[äa]hl\w*|notruf|ruf\w*|unter|der|die)(?:\sSie)?(?:\sdie)?$", before(m), re.I) and not re.match(r"[A-ZÄÖÜa-zäöü]", after(m)[:1] if re.search(r"\b(?:der|die|unter)$", before(m)) else "") else None,
          ("Wählen Sie 112.", "Wählen Sie eins eins zwei.")),
    _rule("code", r"\d[\d ]*\d(?![\w,]|[.:]\d)", lambda m: digits(m.group()) if re.search(r"\b(?:PIN|PLZ|Postleitzahl|Code|IBAN|TAN|Kontonummer|Passwort|ISBN|BLZ)(?:\s(?:ist|lautet))?:?$", before(m)) else None,
          ("PLZ 10115", "PLZ eins null eins eins fünf")),
    _rule("postcode", rf"(?<![\w.,:/-])(?P<n>\d{{5}})(?=\s{read.NOUN})", lambda m: read.postcode(m) if re.search(r"\d[a-z]?,$|^$|\bD-$", before(m)) and gender(first_word(after(m))) and not re.match(r"(?:Menschen|Personen|Euro|Dollar|Meter|Kilometer|Einwohner|Zuschauer|Leute|Besucher|Teilnehmer|Mitarbeiter|Stück|Tonnen|Jahre|Stunden|Mal)\b", after(m)) else None),
    # dates and times
    _rule("ISO date", r"(?<![\w.-])(\d{4})-(\d{2})-(\d{2})(?![\w-])", dates.iso_date,
          ("am 2023-12-24", "am vierundzwanzigsten Dezember zweitausenddreiundzwanzig")),
    _rule("date", rf"(?<![\w.,])(?:(?P<from>\d{{1,2}})\.{read.RANGE})?(?P<d>\d{{1,2}})\.{read.B}?(?P<m>\d{{1,2}})\.(?:{read.B}?(?P<y>\d{{4}}|\d{{2}}(?!\d|{read.B}?Uhr|:)))?(?!\d|\.\d)", dates.date,
          ("Am 3.10. war frei.", "Am dritten Oktober war frei.")),
    _rule("date with a month's name", rf"(?<![\w.,])(?:(?P<from>\d{{1,2}})\.{read.RANGE})?(?P<d>\d{{1,2}})\.\s?(?P<month>(?:{dates.MONTH})(?!\w)|(?:{alternatives(dates.SHORT_MONTHS)})(?:\.|(?!\w)))(?:\s(?P<y>\d{{4}})(?![\d,]))?", dates.written_date,
          ("der 1. Januar", "der erste Januar"), ("den 3.-5. Mai", "den dritten bis fünften Mai")),
    _rule("month and year", rf"(?<=\b)(?P<m>{dates.MONTH})\s(?P<y>\d{{4}})(?![\d,])", lambda m: f"{m['m']} {year(int(m['y']))}"),
    _rule("days of the week", rf"\b(?P<a>{'|'.join(DAYS)})\.?{read.RANGE}(?P<b>{'|'.join(DAYS)})\b\.?(?=[\s:,]*(?:\d|$))?", lambda m: f"{DAYS[m['a']]} bis {DAYS[m['b']]}", ("Mo-Fr", "Montag bis Freitag")),
    _rule("day of the week", rf"\b(?P<a>{'|'.join(DAYS)})(?:\.,|\.|,)(?=\s(?:den\s)?\d{{1,2}}\.)", lambda m: DAYS[m["a"]] + ","),
    _rule("days in a list", rf"(?<=\bam\s)(?:{'|'.join(DAYS)})\.(?!\s[A-Z][a-z]+\s[a-z])|\b(?:{'|'.join(DAYS)})\.(?=,?\s(?:und\s|oder\s|bis\s)?(?:{'|'.join(DAYS)})\.)|(?<=\.\sund\s)(?:{'|'.join(DAYS)})\.|(?<=\.\sbis\s)(?:{'|'.join(DAYS)})\.", lambda m: DAYS[m.group().rstrip(".")] + read.closing(m), ("Mo. und Di.", "Montag und Dienstag")),
    _rule("duration", rf"{read.START}(?P<a>\d{{1,3}}):(?P<b>[0-5]\d)(?::(?P<c>[0-5]\d))?\s?(?P<unit>Stunden?|Std\.|Minuten?|Min\.|min|h)(?!\w)", dates.duration,
          ("in 2:05 Stunden", "in zwei Stunden fünf Minuten")),
    _rule("times from and to", rf"{read.START}(?P<h>\d{{1,2}})(?:[:.](?P<m>\d\d))?(?:{read.B}?Uhr)?(?:{read.RANGE}|\sbis\s)(?P<h2>\d{{1,2}})(?:[:.](?P<m2>\d\d))?(?P<uhr>{read.B}?Uhr\b)?{read.END}", dates.times,
          ("8-17 Uhr", "acht bis siebzehn Uhr")),
    _rule("time", rf"{read.START}(?P<h>\d{{1,2}})(?P<sep>[:.])(?P<m>\d\d)(?::(?P<s>\d\d))?(?P<uhr>{read.B}?Uhr\b)?{read.END}", dates.time,
          ("um 14:30", "um vierzehn Uhr dreißig"), ("um 8.15 Uhr", "um acht Uhr fünfzehn")),
    _rule("hour", rf"{read.START}(?P<h>\d{{1,2}}){read.B}Uhr(?:{read.B}(?P<m>\d{{1,2}})(?![\w.,%€]))?(?!\w)", lambda m: dates.clock_words(m["h"], m["m"]),
          ("1 Uhr", "ein Uhr")),
    _rule("equation", read.EQUATION, read.equation, ("10 - 4 = 6", "zehn minus vier gleich sechs")),
    _rule("ratio", rf"{read.START}\d+\s?:\s?\d+(?:\.\d{{3}})*(?:\s?:\s?\d+)*{read.END}", dates.ratio, ("2:1", "zwei zu eins")),
    # names of parts
    _rule("section", r"\b(?P<label>[A-ZÄÖÜa-zäöü]+\.?)\s(?P<s>\d{1,3}(?:\.\d{1,3})+)(?P<stop>\.?)(?![\d,]|\s?[€%])", lambda m: f"{read.ABBREVIATED_LABELS.get(m['label'], m['label'])} {read.section(m)}" if m["label"].rstrip(".").lower() in LABELS else None,
          ("Abschnitt 3.2. Danach", "Abschnitt drei Punkt zwei. Danach")),
    _rule("version", r"(?<![\w.,:/@])(?:v\.?\s?)?(?P<v>\d+(?:\.\d+){2,})(?![\w,]|\.\d)", read.version,
          ("2.0.1", "zwei Punkt null Punkt eins")),
    _rule("section without a word", r"(?<![\w.,])(?P<s>\d{1,2}\.\d{1,2})(?P<stop>\.)(?=\s|$)", read.section),
    # money and measures
    _rule("millions", rf"{read.START}{_S}(?P<n>{read.NUMBER}){read.B}?(?P<scale>Mio|Mrd|Bio|Tsd|Millionen|Million|Milliarden?|Billionen|Billion)\b\.?(?:{read.B}?(?P<c>{read.CURRENCY})(?!\w))?", read.million,
          ("1 Mio. Euro", "eine Million Euro"), ("2,5 Mio. €", "zwei Komma fünf Millionen Euro")),
    _rule("money per something", rf"{read.START}{_S}(?P<n>{read.NUMBER})(?:,--?)?{read.B}?(?P<c>{read.CURRENCY}){read.B}?/{read.B}?(?P<per>{_PERS})(?![\w/])", read.money_per, ("5 €/Monat", "fünf Euro pro Monat")),
    _rule("range of amounts", rf"{read.START}(?P<a>{read.NUMBER})(?:{read.RANGE})(?P<b>{read.NUMBER})(?:(?:{read.B}?)(?P<u>{read.UNIT}|{read.CURRENCY})(?:/(?P<per>{_PERS}))?(?![\w²³]))(?!-)", read.number_range, ("5-6 km", "fünf bis sechs Kilometer")),
    _rule("money", rf"{read.START}{_S}(?P<n>{read.NUMBER})(?:,(?:--?|—))?{read.B}?(?P<c>{read.CURRENCY})(?![\w-])", read.money,
          ("-12,50 €", "minus zwölf Euro fünfzig"), ("1 €", "ein Euro")),
    _rule("money, sign first", rf"(?<!\w){_S}(?P<c>{alternatives(c for c in CURRENCIES if not c.isalpha() or c.isupper())}){read.B}?(?P<n>{read.NUMBER}){read.END}", read.money, ("$ 3,50", "drei Dollar fünfzig")),
    _rule("percent in a word", rf"{read.START}(?P<n>{read.NUMBER})(?P<rest>{read.B}?%-?ig\w*)", read.compound, ("100 %ig", "einhundertprozentig")),
    _rule("measure", rf"{read.START}(?P<n>{read.SIGN}{read.NUMBER})(?P<blank>{read.B}?)(?P<u>{read.UNIT})(?:/(?P<per>{_PERS}))?(?![\w²³°]|/[A-Za-zäöü])(?!-[A-ZÄÖÜ])", read.measure,
          ("-5 °C", "minus fünf Grad Celsius"), ("120 km/h", "einhundertzwanzig Kilometer pro Stunde"), ("1 t", "eine Tonne")),
    _rule("unit in a compound", rf"{read.START}(?P<n>{read.NUMBER})(?P<hyphen>-?)(?P<u>{read.UNIT}|€)(?=-[A-ZÄÖÜ])", read.unit_in_compound, ("20-kg-Sack", "zwanzig-Kilogramm-Sack")),
    _rule("so much a day", r"\b(?P<a>[A-ZÄÖÜ][a-zäöüß]+)/(?P<b>Tag|Monat|Jahr|Woche|Stunde|Minute|Sekunde|Person|Nacht|Stück|Quartal|Einwohner|Kopf|h|min|s)\b(?!/)", read.slash_per, ("3 Tassen/Tag", "drei Tassen pro Tag")),
    # fractions
    _rule("mixed number", rf"{read.START}(?P<n>\d{{1,3}})(?:{read.B}?(?P<v>[{read.VULGAR}])|{read.B}(?P<a>\d)/(?P<b>\d{{1,2}}))(?![\w/])", read.mixed, ("2½", "zweieinhalb")),
    _rule("half of a noun", rf"(?<![\d\w./])(?:1/2|½)\s(?P<noun>{read.NOUN})", read.half, ("½ Liter", "ein halber Liter")),
    _rule("fraction sign", rf"[{read.VULGAR}](?!\w)", read.vulgar, ("¾", "drei Viertel")),
    _rule("around the clock", r"(?<![\w/.])(?:24/7(?:/365)?|50/50|9/11)(?![\w/])", lambda m: " ".join(cardinal(int(part)) for part in m.group().split("/")), ("24/7", "vierundzwanzig sieben")),
    _rule("years with a slash", r"(?<![\w/.])(?P<a>1[1-9]\d\d|20\d\d)/(?P<b>\d{4}|\d\d)(?![\w/])", lambda m: f"{year(int(m['a']))} {dates.year_or_pair(m['b'])}"),
    _rule("fraction", r"(?<![\w/.,])(?P<a>\d{1,2})/(?P<b>\d{1,3})(?![\w/]|[.,]\d)", read.fraction, ("3/4", "drei Viertel")),
    # ordinals
    _rule("Roman ordinal", rf"(?<![\w.]){_ROMANS}\.(?=\s)", read.roman_ordinal, ("im XX. Jahrhundert", "im zwanzigsten Jahrhundert")),
    _rule("Roman ordinals", rf"(?<![\w.]){_ROMANS}\.(?=\s(?:und|bis|oder)\s(?:\w+\s){{0,3}}[IVXLCDM]+\.)", read.roman_listed),
    _rule("label and Roman number", rf"\b(?P<label>{read.NOUN}|Kap\.|Bd\.|Abs\.|Art\.)\s{_ROMANS}(?![\w'])", lambda m: read.roman_label(m) and f"{read.ABBREVIATED_LABELS.get(m['label'], m['label'])} {cardinal(roman(m['r']) or 0)}" if m["label"].rstrip(".").lower() in LABELS or m["label"].endswith("krieg") else None,
          ("Kapitel IV", "Kapitel vier")),
    _rule("ruler", rf"\b(?P<name>{read.NOUN})\s{_ROMANS}(?P<stop>\.?)(?![\w'])", read.regnal, ("Ludwig XIV. war", "Ludwig der vierzehnte war")),
    _rule("ordinals from and to", rf"{read.START}(?P<a>\d{{1,2}})\.{read.RANGE}(?P<b>\d{{1,2}})\.(?=\s)", read.ordinal_range, ("die 3.-5. Klasse", "die dritte bis fünfte Klasse")),
    _rule("ordinal", rf"{read.START}(?P<n>\d{{1,3}})\.(?=\s|$|[,;:!?)-])", read.ordinal_number,
          ("die 2. Klasse", "die zweite Klasse"), ("in der 3. Reihe", "in der dritten Reihe")),
    # numbers in words and words in numbers
    _rule("decade", r"(?<![\w.,/])'?(?P<n>\d{1,4})-?(?P<er>er[ns]?)(?![a-zäöü])", read.decade, ("1980er", "neunzehnhundertachtziger")),
    _rule("number in a word", rf"{read.START}(?P<n>{read.NUMBER})(?P<rest>-?(?:jährig|fach|mal|prozentig|stellig|teilig|stündig|minütig|tägig|wöchig|monatig|köpfig|seitig|stöckig|malig|tausend|eckig|türig|spurig|bändig|sitzig|ste|te)\w*|-[A-ZÄÖÜ€][\w-]*)", read.compound,
          ("5-jährig", "fünfjährig"), ("3-Zimmer-Wohnung", "drei-Zimmer-Wohnung")),
    _rule("range", rf"{read.START}(?P<a>{read.NUMBER}){read.RANGE}(?P<b>{read.NUMBER})(?P<u>)(?P<per>){read.END}", read.number_range, ("Seiten 10-14", "Seiten zehn bis vierzehn")),
    _rule("calculation", rf"{read.START}{read.NUMBER}\s?[x×*·+÷]\s?{read.NUMBER}(?:\s?[x×*·+÷]\s?{read.NUMBER})*(?!\d)", read.calculation, ("3 x 4", "drei mal vier")),
    _rule("times", rf"{read.START}(?P<n>\d+)\s?[x×](?=\s|$|[.,;!?])", lambda m: read.amount(m["n"], "ein") + "mal"),
    _rule("thousand", rf"{read.START}(?P<n>\d{{1,3}}(?:,\d)?)k(?!\w)", lambda m: cardinal(int(m["n"]) * 1000) if "," not in m["n"] else read.amount(m["n"]) + " tausend"),
    _rule("number sign", r"#(?P<n>\d+)(?!\w)", lambda m: "Nummer " + read.amount(m["n"]), ("#1", "Nummer eins")),
    _rule("hashtag", r"(?<!\w)#(?=[^\W\d_])", lambda _: "Hashtag "),
    _rule("gender star", r"(?<=[a-zäöüß])(?:[*:_]|/-?)(?=in(?:nen)?(?![a-zäöüß]))", lambda _: "-", ("Schüler*innen", "Schüler-innen")),
    _rule("street", r"(?<=[a-zäöüß])(?P<s>str|pl)\.(?!\w)", lambda m: {"str": "straße", "pl": "platz"}[m["s"]] + read.closing(m), ("Hauptstr. 5", "Hauptstraße fünf")),
    _rule("street by name", r"(?<=-)Str\.(?!\w)", lambda m: "Straße" + read.closing(m)),
    _rule("house number", rf"{read.START}(?P<n>\d{{1,4}}){read.B}?(?P<l>[a-z])(?!\w)(?=[,.;:!?)]|\s|$)", lambda m: f"{read.amount(m['n'])} {m['l'].upper()}" if re.search(r"(?:stra(?:ß|ss)e|str\.|weg|platz|allee|gasse|§|nr\.|paragraph|kapitel|art\.|ring|ufer|damm)$", before(m), re.I) else None,
          ("Hauptstr. 5a", "Hauptstraße fünf A")),
    _rule("letters and digits", r"(?<![\w.,/])(?:[A-Za-zÄÖÜ]{1,4}-?\d{1,4}(?:[A-Za-z]{1,3}\d{0,3})?|\d{1,4}[A-Z]{1,3})(?![\w,])", read.code, ("CO2-Steuer", "C O zwei-Steuer"), ("A4", "A vier")),
    _rule("one before a noun", rf"{read.START}1(?=\s(?:[a-zäöüß]+e[nrsm]?\s)?(?P<noun>{read.NOUN}))(?!\s(?:und|oder|bis|plus|minus|mal)\s)", read.one_noun, ("1 Stunde", "eine Stunde"), ("Er hat 1 Hund", "Er hat einen Hund")),
    _rule("decimal point", rf"{read.START}{_S}(?P<a>\d+)\.(?P<b>\d{{1,2}}|\d{{4,}})(?![\w.,]?\d)", read.point, ("3.10", "drei Punkt eins null")),
    _rule("number", rf"{read.START}{_S}(?P<n>{read.NUMBER})(?![\w@]|[.,:/]\d)", read.plain, ("1 000", "eintausend"), ("-3", "minus drei")),
    _rule("digits", r"\d+", read.leftover),
)  # fmt: skip
