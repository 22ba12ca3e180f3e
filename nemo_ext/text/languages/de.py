"""German: espeak's de, with numbers read by rules of ours."""

from __future__ import annotations

from nemo_ext.text.languages import Language
from nemo_ext.text.languages.german_rules import RULES

_ABBREVIATIONS = {
    "z. B.": "zum Beispiel", "z.B.": "zum Beispiel", "d. h.": "das heißt", "d.h.": "das heißt",
    "u. a.": "unter anderem", "u.a.": "unter anderem", "i. d. R.": "in der Regel", "i.d.R.": "in der Regel",
    "o. Ä.": "oder Ähnliches", "o.Ä.": "oder Ähnliches", "u. U.": "unter Umständen", "u.U.": "unter Umständen",
    "z. T.": "zum Teil", "z.T.": "zum Teil", "s. o.": "siehe oben", "s. u.": "siehe unten", "v. a.": "vor allem",
    "v.a.": "vor allem", "v. Chr.": "vor Christus", "n. Chr.": "nach Christus", "usw.": "und so weiter",
    "usf.": "und so fort", "bzw.": "beziehungsweise", "bspw.": "beispielsweise", "ca.": "zirka",
    "etc.": "et cetera", "vgl.": "vergleiche", "evtl.": "eventuell", "ggf.": "gegebenenfalls",
    "inkl.": "inklusive", "exkl.": "exklusive", "zzgl.": "zuzüglich", "sog.": "sogenannt", "geb.": "geboren",
    "gest.": "gestorben", "Dr.": "Doktor", "Prof.": "Professor", "Hr.": "Herr", "Fr.": "Frau", "St.": "Sankt",
    "Str.": "Straße", "Nr.": "Nummer", "Tel.": "Telefon", "Jh.": "Jahrhundert", "Mio.": "Millionen",
    "Mrd.": "Milliarden", "Std.": "Stunden", "Min.": "Minuten", "Sek.": "Sekunden", "max.": "maximal",
    "min.": "minimal", "Dipl.-Ing.": "Diplomingenieur", "Mr.": "Mister", "Mrs.": "Missis", "Jan.": "Januar",
    "Feb.": "Februar", "Aug.": "August", "Sept.": "September", "Okt.": "Oktober", "Nov.": "November",
    "Dez.": "Dezember", "§§": "Paragraphen", "u.": "und",
}  # fmt: skip
_CLOSING = {
    "u. a.", "u.a.", "o. Ä.", "o.Ä.", "s. o.", "s. u.", "v. Chr.", "n. Chr.", "usw.", "usf.", "etc.", "Str.", "Jh.",
}  # fmt: skip
_HETERONYMS = """
august collagen dachs durchbrechen hochzeit modern montage ransom rentier sucht tenor umfahren umgehen umschreiben
umstellen unterstellen übersetzen übertreten überziehen versendung weg
"""


_SYMBOLS = {
    "=": "gleich", "+": "plus", "&": "und", "%": "Prozent", "@": "ät", "#": "Nummer", "°": "Grad", "€": "Euro",
    "$": "Dollar", "£": "Pfund", "§": "Paragraph", "×": "mal", "÷": "geteilt durch", "±": "plus minus",
    "<": "kleiner als", ">": "größer als", "©": "Copyright", "/": "Schrägstrich", "*": "Sternchen",
    "~": "ungefähr", "²": "hoch zwei", "³": "hoch drei", "≈": "ungefähr", "≤": "kleiner gleich", "≥": "größer gleich",
    "≠": "ungleich", "‰": "Promille", "¥": "Yen", "¢": "Cent", "·": "mal", "∞": "unendlich", "√": "Wurzel aus",
}  # fmt: skip

_INTERJECTIONS = (
    ("h+m+", "həm"), ("m{2,}", "mː"), ("m+h+m+", "mhˈəm"), ("p+s+t+", "pst"), ("b+r{2,}", "bɾː"), ("g+r{2,}", "ɡɾː"),
    ("p+f+t+", "pft"), ("z{3,}", "zː"), ("s+ch+", "ʃː"), ("s+ch+t+", "ʃt"),
)  # fmt: skip

LANGUAGE = Language(
    code="de",
    espeak_voice="de",
    letters="abcdefghijklmnopqrstuvwxyzäöüß",
    # collected from read German prose, with the sounds of foreign words, which espeak-ng reads with its English voice
    ipa="abdefhijklmnoprstuvwxyzçæðøŋœɐɑɒɔəɚɛɜɡɪɹɾʁʃʊʌʏʒʔθᵻˈˌː\u0303\u0329",
    abbreviations=_ABBREVIATIONS,
    numeric_abbreviations={"S.": "Seite", "Bd.": "Band", "Art.": "Artikel", "Abs.": "Absatz", "Kap.": "Kapitel"},
    closing=frozenset(_CLOSING),
    symbols=_SYMBOLS,
    heteronyms=frozenset(_HETERONYMS.split()),
    rules=RULES,
    interjections=_INTERJECTIONS,
    grammars=False,
)
