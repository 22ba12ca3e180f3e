"""English: espeak's en-us, and cmudict."""

from __future__ import annotations

from nemo_ext.text.languages import Language
from nemo_ext.text.languages.english_rules import RULES

_ABBREVIATIONS = {
    "Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "Dr.": "Doctor", "Drs.": "Doctors", "Prof.": "Professor",
    "Rev.": "Reverend", "Hon.": "Honorable", "Gov.": "Governor", "Gen.": "General", "Col.": "Colonel",
    "Capt.": "Captain", "Lt.": "Lieutenant", "Sgt.": "Sergeant", "Maj.": "Major", "Sen.": "Senator",
    "Rep.": "Representative", "Pres.": "President", "Mt.": "Mount", "St.": "Saint", "Ft.": "Fort",
    "Ph.D.": "P H D", "Jr.": "Junior", "Sr.": "Senior", "Ave.": "Avenue", "Blvd.": "Boulevard", "Rd.": "Road",
    "Inc.": "Incorporated", "Ltd.": "Limited", "Corp.": "Corporation", "Co.": "Company", "Bros.": "Brothers",
    "vs.": "versus", "etc.": "et cetera", "e.g.": "for example", "i.e.": "that is", "approx.": "approximately",
    "dept.": "department", "Dept.": "Department", "est.": "established", "cf.": "compare", "w/o": "without",
}  # fmt: skip
_CLOSING = {
    "Jr.", "Sr.", "Ave.", "Blvd.", "Rd.", "Inc.", "Ltd.", "Corp.", "Co.", "Bros.", "etc.", "a.m.", "p.m.",
    "Ph.D.", "est.", "w/o",
}  # fmt: skip
_MONTHS = {
    "Jan.": "January", "Feb.": "February", "Mar.": "March", "Apr.": "April", "Aug.": "August", "Sept.": "September",
    "Sep.": "September", "Oct.": "October", "Nov.": "November", "Dec.": "December",
}  # fmt: skip
# Nouns and verbs, tenses and strangers that share a spelling.
_HETERONYMS = """
abuse abuses advocate affect aggregate alternate animate appropriate approximate articulate associate attribute axes
bass bow bowed bows close closer collect combine compact complex compound compress conduct confine conflict conscript
console consort construct consult content contest contract contrast converse convert convict coordinate decrease
delegate desert deliberate digest discount dove duplicate elaborate entrance escort estimate excuse exploit export
extract finance fragment frequent graduate house import impact implant incense increase initiate insert insult
intimate invalid invite lead leading leads live lives minute moderate moped multiply number object ornament overlap
perfect perfume permit polish predicate present primer produce progress project protest read rebel recall recap record
refund refuse reject relay replay research resume row rowed rows sake second segregate separate sewer slough sow sows
subject supply survey suspect tear tearing tears transform transplant transport upset use used uses wind winding winds
wound
"""


_SYMBOLS = {
    "=": "equals", "+": "plus", "&": "and", "%": "percent", "@": "at", "#": "number", "°": "degrees",
    "€": "euros", "$": "dollars", "£": "pounds", "§": "section", "×": "times", "÷": "divided by",
    "±": "plus or minus", "<": "less than", ">": "greater than", "©": "copyright", "/": "slash", "*": "asterisk",
    "~": "approximately", "²": "squared", "³": "cubed",
}  # fmt: skip


_INTERJECTIONS = (
    ("h+m+", "həm"), ("m{2,}", "mː"), ("m+h+m+", "əmhˈəm"), ("sh+", "ʃː"), ("p+s+t+", "pst"), ("br{2,}", "bɹː"),
    ("gr{2,}", "ɡɹː"), ("p+f+t+", "pft"), ("z{3,}", "zː"), ("nth", "ˈɛnθ"),
)  # fmt: skip
_LETTERED = """
plan vitamin type class group grade hepatitis team section option point exhibit appendix block side part level platform
terminal category schedule annex zone ward variant version model room seat gate unit
"""

LANGUAGE = Language(
    code="en",
    espeak_voice="en-us",
    letters="abcdefghijklmnopqrstuvwxyz",
    # collected from the 126,052 words of cmudict, read by espeak-ng
    ipa="abdefhijklmnoprstuvwxzæðŋɐɑɔəɚɛɜɡɪɬɹɾʃʊʌʒʔθᵻˈˌːʲ\u0303\u0329",
    abbreviations=_ABBREVIATIONS,
    numeric_abbreviations={
        "No.": "number",
        "no.": "number",
        "Nos.": "numbers",
        "p.": "page",
        "pp.": "pages",
        "vol.": "volume",
        "Vol.": "volume",
        "ext.": "extension",
        "Fig.": "figure",
        "fig.": "figure",
        "ch.": "chapter",
        **_MONTHS,
    },
    closing=frozenset(_CLOSING),
    symbols=_SYMBOLS,
    heteronyms=frozenset(_HETERONYMS.split()),
    rules=RULES,
    interjections=_INTERJECTIONS,
    letter_a="ˈeɪ",
    lettered=frozenset(_LETTERED.split()),
)
