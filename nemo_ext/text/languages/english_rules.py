"""The table of rules of English: the first that fits a span reads it; english_readings.py says how."""

# ruff: noqa: E501 (one rule, one row)
from __future__ import annotations

import re
from collections.abc import Callable

from nemo_ext.text.languages import english_readings as read
from nemo_ext.text.languages.english_numbers import amount, in_pairs
from nemo_ext.text.languages.english_units import UNITS
from nemo_ext.text.languages.english_words import DAYS, ORDINAL_NOUNS, STREETS
from nemo_ext.text.rules import Rule, address_rules, alternatives


def _rule(
    name: str, pattern: str, how: Callable[[re.Match[str]], str | None], *examples: tuple[str, str], flags: int = 0
) -> Rule:
    return Rule(name, re.compile(pattern, flags), how, examples)


_S = rf"(?P<sign>{read.SIGN})"
_ROMANS = r"(?P<r>[IVXLCDM]+)"
_PER_WORDS = (
    "day|month|year|week|hour|minute|second|person|night|unit|mile|head|share|mo|yr|wk|hr|quarter|page|student|s|h|min"
)
_PERS = rf"(?:s²|{read.UNIT}|{_PER_WORDS})"
_HALF = r"(?P<half>[AaPp])\.?\s?[Mm]\b\.?"

RULES: tuple[Rule, ...] = (
    *address_rules(
        {".": "dot", "@": "at", "-": "dash", "_": "underscore", "/": "slash", "www": "W W W", ":": "colon",
         "~": "tilde", "?": "question mark", "=": "equals", "&": "and", "#": "hash", "+": "plus", "%": "percent",
         "com": "com", "org": "org", "net": "net", "info": "info", "my": "my", "co": "co"},
        amount,
    ),
    _rule("telephone number", r"(?<![\w.,/+-])(?:\+\d{1,3}(?:[\s.-]?\(?\d+\)?){1,6}|1-\d{3}-\d{3}-\d{4}|\(\d{3}\)\s?\d{3}[-.\s]\d{4}|\d{3}[-.]\d{3}[-.]\d{4}|\d{3}-\d{4})(?![\w,-]|\.\d)", read.telephone,
          ("555-1234", "five five five, one two three four")),
    _rule("number to call", r"(?<![\w.,:/$-])\d{3}(?![\w,:/%-]|\.\d)", read.called, ("Call 911.", "Call nine one one.")),
    _rule("code", r"(?<![\w.,:/$-])\d{3,12}(?![\w,:/%-]|\.\d)", read.code_digits, ("ZIP code 90210", "ZIP code nine zero two one zero")),
    _rule("four oh one", r"\b401\(?k\)?(?!\w)", lambda _: "four oh one K"),
    _rule("version", r"(?<![\w.,:/@$])(?:[vV]\.?\s?)?\d+(?:\.\d+){2,}(?![\w,]|\.\d)", read.dotted, ("2.0.1", "two point zero point one")),
    _rule("version after v", r"\b[vV]\.?\s?\d+\.\d+(?![\w,]|\.\d)", read.dotted, ("v2.0", "version two point zero")),
    _rule("no", r"(?<!\w)[Nn]o\.(?=\s\d)", read.answered_no, ("She said no. 5 of us", "She said no. five of us")),
    _rule("street", rf"(?<![\w.])(?P<s>{alternatives(STREETS)})\.(?!\w)", read.street, ("12 Oak Dr.", "twelve Oak Drive.")),
    _rule("house number in a street", rf"{read.START}(?P<n>\d{{3,4}})(?=\s(?:[A-Z][\w.']*\s){{1,3}}(?:Street|Drive|Avenue|Road|Lane|Boulevard|(?:{alternatives(STREETS)})\b))", lambda m: in_pairs(int(m["n"])), ("742 Elm St.", "seven forty two Elm Street.")),
    # dates and times
    _rule("ISO date", r"(?<![\w.-])(\d{4})-(\d{2})-(\d{2})(?![\w-])", read.iso_date, ("2023-12-24", "december twenty fourth twenty twenty three")),
    _rule("month and day", rf"\b(?P<month>(?:{read.MONTH})(?!\w)|(?:{read.SHORT_MONTH})(?:\.|(?!\w)))\s(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:{read.RANGE}(?P<to>\d{{1,2}})(?:st|nd|rd|th)?)?(?![\w:%]|[.,/-]\d)(?:(?P<comma>,?)\s(?P<y>1\d{{3}}|20\d\d)(?![\w,]\d?|\.\d))?", read.month_day,
          ("Jan. 5, 2012", "january fifth, twenty twelve"), ("May 3-5", "may third to fifth")),
    _rule("day and short month", rf"{read.START}(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s(?P<month>(?:{read.SHORT_MONTH})(?:\.|(?!\w)))(?:,?\s(?P<y>1\d{{3}}|20\d\d)(?![\w,]))?", read.day_month,
          ("24 Dec 2023", "the twenty fourth of december twenty twenty three")),
    _rule("days of the week", rf"\b(?P<a>{alternatives(DAYS)})\.?{read.RANGE}(?P<b>{alternatives(DAYS)})\b\.?", lambda m: f"{DAYS[m['a']]} to {DAYS[m['b']]}" + read.stop_mark(m), ("Mon-Fri", "Monday to Friday")),
    _rule("day of the week", rf"\b(?P<a>{alternatives(DAYS)})\.?(?=,\s(?:{read.MONTH}|{read.SHORT_MONTH})\b)", lambda m: DAYS[m["a"]], ("Mon., May 3", "Monday, may third")),
    _rule("times from and to", rf"{read.START}(?P<h>\d{{1,2}})(?::(?P<m>\d\d))?(?:\s?(?P<half>[AaPp])\.?[Mm]\b\.?)?{read.RANGE}(?P<h2>\d{{1,2}})(?::(?P<m2>\d\d))?(?:\s?(?P<half2>[AaPp])\.?[Mm]\b\.?)?(?![\w@]|[.,:/-]?\d)", read.times, ("9:00-5:30", "nine to five thirty"), ("9-11 a.m. daily", "nine to eleven AM daily")),
    _rule("time of the half day", rf"{read.START}(?P<h>\d{{1,2}})(?::(?P<m>\d\d))?\s?{_HALF}(?!\w)", read.time, ("2:35 p.m. sharp", "two thirty five PM sharp")),
    _rule("minutes below ten", rf"{read.START}(?P<h>1?\d|2[0-3]):(?P<m>0[1-9]){read.END}", lambda m: read.clock_words(m["h"], m["m"]), ("at 7:05", "at seven oh five")),
    _rule("equation", read.EQUATION, read.equation, ("10 - 4 = 6", "ten minus four equals six")),
    _rule("ratio", rf"{read.START}\d+\s?:\s?\d+(?:\s?:\s?\d+)*{read.END}", read.ratio, ("a ratio of 2:1", "a ratio of two to one")),
    _rule("decade", r"(?<![\w.,/$-])'?(?P<n>\d{0,3}0)'?s(?!\w)", read.decade, ("830s", "eight thirties"), ("the '90s", "the nineties")),
    # money and measures
    _rule("range of money", rf"(?<!\w)(?P<c>{read.CURRENCY})(?P<a>{read.NUMBER})(?:{read.RANGE})(?:{read.CURRENCY})?(?P<b>{read.NUMBER})(?:\s?(?P<scale>thousand|million|billion|trillion|[kKMmB]|bn)(?!\w))?{read.END}", read.money_range, ("$5-10", "five to ten dollars")),
    _rule("money", rf"(?<!\w){_S}(?P<c>{read.CURRENCY}){read.B}?(?P<n>{read.NUMBER})(?:\s?(?P<scale>thousand|million|billion|trillion|bn|mn|tn|trn|mm|[kKMmBbT])(?!\w))?(?:\s?/\s?(?P<per>{_PERS})(?!\w))?(?![\w@]|[.,]\d)", read.money,
          ("$5/month", "five dollars per month"), ("$20K", "twenty thousand dollars"), ("£1.20", "one pound twenty pence")),
    _rule("money, sign last", rf"{read.START}{_S}(?P<n>{read.NUMBER})(?P<scale>)(?P<per>)\s?(?P<c>{read.CURRENCY})(?!\w)", read.money, ("5 €", "five euros")),
    _rule("feet and inches", rf"{read.START}(?P<ft>\d{{1,2}})(?:'\s?(?P<in>\d{{1,2}})(?:\"|'')|\s?(?:ft|foot|feet)\.?\s(?P<in2>\d{{1,2}})\s?in(?:ches|\.|\b)|'(?=\s(?:tall|long|high|wide|deep)\b))", read.feet, ("5'10\"", "five feet ten inches")),
    _rule("range of measures", rf"{read.START}(?P<a>{read.NUMBER})(?:%?)(?:{read.RANGE})(?P<b>{read.NUMBER}){read.B}?(?P<u>{read.UNIT})(?![\w²³])", read.number_range, ("5-6 km", "five to six kilometers")),
    _rule("measure", rf"{read.START}(?P<n>{read.SIGN}{read.NUMBER})(?P<blank>{read.B}?)(?P<u>{read.UNIT})(?:/(?P<per>{_PERS}))?(?![\w²³°]|/\w|-\w)", read.measure,
          ("60 km/h", "sixty kilometers per hour"), ("1 km", "one kilometer"), ("-5 °C", "minus five degrees Celsius")),
    _rule("unit of a compound", rf"{read.START}(?P<n>{read.NUMBER})-?(?P<u>{read.UNIT})(?=-[a-z])|{read.START}(?P<n2>{read.NUMBER})-(?P<u2>{read.UNIT})(?![\w.])", lambda m: f"{amount(m['n'] or m['n2'])} {UNITS[m['u'] or m['u2']][0]}", ("a 5-km run", "a five kilometer run")),
    _rule("power of ten", rf"{read.START}(?P<n>{read.NUMBER})(?P<scale>bn|[kKMB])(?![\w-])", read.power, ("10M people", "ten million people"), ("4K video", "four K video")),
    _rule("so many a day", rf"\b(?P<a>[a-z]+)/(?P<b>{_PER_WORDS})\b(?!/)", lambda m: f"{m['a']} per {read.each(m['b'])}" if re.search(r"[\d,.]\s?$", m.string[max(0, m.start() - 4) : m.start()]) or m["a"].endswith("s") else None, ("20 requests/second", "twenty requests per second")),
    _rule("either", r"(?<!\S)(?P<a>[^\W\d]+)/(?P<b>[^\W\d]+)(?!\w|[./])", lambda m: f"{m['a']} {m['b']}", ("and/or", "and or")),
    # fractions
    _rule("mixed number", rf"{read.START}(?P<n>\d{{1,3}})(?:{read.B}?(?P<v>[{read.VULGAR}])|{read.B}(?P<a>\d)/(?P<b>\d{{1,2}}))(?![\w/])", read.mixed, ("1½", "one and a half"), ("2 3/4", "two and three quarters")),
    _rule("fraction sign", rf"[{read.VULGAR}](?!\w)", read.vulgar, ("½ cup", "half a cup"), ("¾", "three quarters")),
    _rule("around the clock", r"(?<![\w/.])(?:24/7(?:/365)?|50/50|9/11|20/20|7/11)(?![\w/])", lambda m: " ".join(in_pairs(int(part)) for part in m.group().split("/")), ("24/7", "twenty four seven")),
    _rule("day with a slash", r"(?<![\w/.,])(?P<m>\d{1,2})/(?P<d>\d{1,2})(?![\w/]|[.,]\d)", read.slash_day, ("on 3/4", "on march fourth")),
    _rule("fraction", r"(?<![\w/.,$])(?P<a>\d{1,3}(?:\.\d)?)/(?P<b>\d{1,3})(?![\w/]|[.,]\d)", read.fraction, ("3/4", "three quarters"), ("rated 8/10", "rated eight out of ten")),
    # Roman numerals
    _rule("Roman ordinal", rf"(?<![\w.]){_ROMANS}(?=\s(?:{'|'.join(ORDINAL_NOUNS)})\b)", read.roman_ordinal, ("the XX century", "the twentieth century")),
    _rule("name and Roman number", rf"(?<!\w)(?P<word>{read.WORD})\s{_ROMANS}(?!\w|-)", read.roman_after, ("Louis XIV", "Louis the fourteenth"), ("Chapter IV", "Chapter four")),
    # numbers that are names, numbers in words
    _rule("read in pairs", r"\b(?P<word>[A-Z]\w+)\s(?P<n>\d{3,4})(?![\w,:/%-]|\.\d)", read.paired, ("Boeing 747", "Boeing seven forty seven")),
    _rule("number in a word", rf"{read.START}(?P<n>{read.NUMBER})(?=-[a-z])", lambda m: amount(m["n"]), ("5-year-old", "five-year-old")),
    _rule("letters and digits", r"(?<![\w.,/$'])(?:[A-Za-z]{1,5}-?\d{1,3}(?:[A-Z]{1,2}\d{0,2})?|[A-Z][a-z]{1,3}\d{1,3}|\d{1,3}[A-Z]{1,3})(?![\w,]|-\d)", read.codes, ("B2B", "B two B"), ("COVID-19", "COVID nineteen"), ("3D", "three D")),
    _rule("range", rf"{read.START}(?P<a>{read.NUMBER}){read.RANGE}(?P<b>{read.NUMBER})(?P<u>){read.END}", read.number_range, ("pages 3-5", "pages three to five")),
    _rule("dimensions", rf"{read.START}{read.NUMBER}\s?[x×]\s?{read.NUMBER}(?:\s?[x×]\s?{read.NUMBER})*(?!\d)", read.dimensions, ("1920x1080", "one thousand nine hundred twenty by one thousand eighty"), ("2 x 3", "two times three")),
    _rule("sum", rf"{read.START}{read.NUMBER}(?:\s?[+÷*·]\s?{read.NUMBER})+{read.END}", read.equation, ("5 + 3", "five plus three")),
    _rule("times", rf"{read.START}(?P<n>{read.NUMBER})[x×](?!\w)", lambda m: f"{amount(m['n'])} times"),
    _rule("number sign", r"#(?P<n>\d+)(?!\w)", lambda m: "number " + amount(m["n"]), ("#1", "number one")),
    _rule("hashtag", r"(?<!\w)#(?=[^\W\d_])", lambda _: "hashtag "),
    _rule("approximately", r"~\s?(?=[\d$€£])", lambda _: "approximately "),
    _rule("run without blanks", r"(?<!\S)(?=[^\s\d@]*[\d@])\S{50,}", read.run_without_blanks),
    _rule("negative number", rf"{read.START}(?P<sign>(?<![\w)\].,-])[-±])(?P<n>{read.NUMBER}){read.END}", lambda m: amount(m["sign"] + m["n"]), ("-10", "minus ten")),
)  # fmt: skip
