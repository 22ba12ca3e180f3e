"""English numbers in words, American style, as the rules need them."""

from __future__ import annotations

from nemo_ext.text.rules import whole

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_BIG = ("", "thousand", "million", "billion", "trillion", "quadrillion")
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
_ORDINALS |= {"twelve": "twelfth"}


def cardinal(number: int) -> str:
    """``1234`` -> ``one thousand two hundred thirty four``, below 10**18."""
    if number < 1000:
        return _below_thousand(number)
    words: list[str] = []
    for name in _BIG:
        number, part = divmod(number, 1000)
        if part:
            words.insert(0, f"{_below_thousand(part)} {name}".rstrip())
    return " ".join(words)


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = [f"{_ONES[hundreds]} hundred"] if hundreds else []
    if rest or not hundreds:
        words.append(two_digits(rest))
    return " ".join(words)


def two_digits(number: int) -> str:
    """A number below one hundred."""
    if number < 20:
        return _ONES[number]
    tens, one = divmod(number, 10)
    return _TENS[tens] + (f" {_ONES[one]}" if one else "")


def digits(text: str) -> str:
    """``"07"`` -> ``zero seven``."""
    return " ".join(_ONES[int(digit)] for digit in text if digit.isdecimal())


def ordinal(number: int) -> str:
    """``21`` -> ``twenty first``."""
    *front, last = cardinal(number).split(" ")
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return " ".join([*front, _ORDINALS.get(last, regular)])


def in_pairs(number: int) -> str:
    """``1908`` -> ``nineteen oh eight``, ``747`` -> ``seven forty seven``: years, flights, houses."""
    head, rest = divmod(number, 100)
    if not head:
        return two_digits(rest)
    if not rest:
        return cardinal(number) if head % 10 == 0 or head < 10 else f"{two_digits(head)} hundred"
    return f"{two_digits(head)} {'oh ' if rest < 10 else ''}{two_digits(rest)}"


def year(number: int) -> str:
    """A year: pairs, but ``two thousand five``."""
    if 2000 <= number < 2010 or not 1000 < number < 10000 or number % 1000 < 10:
        return cardinal(number)
    return in_pairs(number)


def amount(text: str) -> str:
    """A number as written, with commas, a decimal point and a sign, in words."""
    sign = {"-": "minus ", "+": "plus ", "±": "plus or minus "}.get(text[:1], "")
    integer, _, fraction = text.lstrip("-+± ").replace(",", "").partition(".")
    number = whole(integer or "0")
    spoken = digits(integer) if number is None else cardinal(number)
    return sign + spoken + (f" point {digits(fraction)}" if fraction else "")
