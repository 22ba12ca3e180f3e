"""ARPAbet, the phonemes of cmudict, and the way between it and espeak's IPA for American English."""

from __future__ import annotations

import re

_VOWELS = {
    "AA": "ɑː",
    "AE": "æ",
    "AH": "ʌ",
    "AO": "ɔː",
    "AW": "aʊ",
    "AY": "aɪ",
    "EH": "ɛ",
    "ER": "ɜː",
    "EY": "eɪ",
    "IH": "ɪ",
    "IY": "iː",
    "OW": "oʊ",
    "OY": "ɔɪ",
    "UH": "ʊ",
    "UW": "uː",
}
_REDUCED = {"AH": "ə", "ER": "ɚ", "IY": "i"}  # what espeak writes without stress
_CONSONANTS = {
    "B": "b",
    "CH": "tʃ",
    "D": "d",
    "DH": "ð",
    "F": "f",
    "G": "ɡ",
    "HH": "h",
    "JH": "dʒ",
    "K": "k",
    "L": "l",
    "M": "m",
    "N": "n",
    "NG": "ŋ",
    "P": "p",
    "R": "ɹ",
    "S": "s",
    "SH": "ʃ",
    "T": "t",
    "TH": "θ",
    "V": "v",
    "W": "w",
    "Y": "j",
    "Z": "z",
    "ZH": "ʒ",
}
_STRESS = {"0": "", "1": "ˈ", "2": "ˌ"}
SYMBOLS = [*sorted(_CONSONANTS), *(vowel + digit for vowel in sorted(_VOWELS) for digit in "012")]

# Espeak writes more than ARPAbet distinguishes. Longest first where one begins with another.
_READ = {
    **{ipa: [phone] for phone, ipa in _CONSONANTS.items()},
    **{ipa: [phone] for phone, ipa in _VOWELS.items()},
    "ə": ["AH"],
    "ɚ": ["ER"],
    "i": ["IY"],
    "ɜ": ["ER"],
    "ɐ": ["AH"],
    "ᵻ": ["IH"],
    "u": ["UW"],
    "a": ["AA"],
    "aː": ["AA"],
    "ɑ": ["AA"],
    "ɒ": ["AA"],
    "ɔ": ["AO"],
    "o": ["OW"],
    "oː": ["AO"],  # only before ɹ
    "e": ["EY"],
    "eː": ["EY"],
    "y": ["UW"],
    "ø": ["ER"],
    "œ": ["ER"],
    "ʏ": ["UH"],
    "n\u0329": ["AH", "N"],
    "l\u0329": ["AH", "L"],
    "m\u0329": ["AH", "M"],
    "ɾ": ["T"],
    "ʔ": ["T"],
    "x": ["K"],
    "ç": ["HH"],
    "r": ["R"],
    "ʁ": ["R"],
    "ɬ": ["L"],
    "g": ["G"],
}
_PIECE = re.compile("|".join(sorted(map(re.escape, _READ), key=len, reverse=True)) + "|[ˈˌ]")


def to_ipa(phones: list[str]) -> str:
    """``["HH", "AH0", "L", "OW1"]`` -> ``həlˈoʊ``: stress before its vowel, as espeak writes it."""
    ipa = ""
    for phone in phones:
        vowel, digit = phone.rstrip("012"), phone[-1]
        if vowel in _CONSONANTS:
            ipa += _CONSONANTS[vowel]
        else:
            sound = _REDUCED.get(vowel, _VOWELS[vowel]) if digit == "0" else _VOWELS[vowel]
            ipa += _STRESS.get(digit, "") + sound
    return ipa


def from_ipa(ipa: str) -> list[str]:
    """The nearest ARPAbet of espeak's IPA; characters without any (length, palatalization) are left out."""
    phones: list[str] = []
    stress = "0"
    for piece in _PIECE.findall(ipa):
        if piece in "ˈˌ":
            stress = "1" if piece == "ˈ" else "2"
            continue
        for phone in _READ[piece]:
            if phone in _VOWELS:
                phones.append(phone + stress)
                stress = "0"
            else:
                phones.append(phone)
    return phones


def reads(ipa: str) -> bool:
    """Whether `from_ipa` knows every sound of ``ipa``."""
    return not _PIECE.sub("", ipa).strip("ːʲ\u0303\u0329")


def is_arpabet(phones: list[str]) -> bool:
    """Whether every phone is one, with or without its stress digit."""
    return bool(phones) and all(p in SYMBOLS or p in _VOWELS for p in phones)


def with_stress(phones: list[str]) -> list[str]:
    """Vowels without a digit get 0."""
    return [p + "0" if p in _VOWELS else p for p in phones]
