"""Units, currencies and powers of ten, as German writes and speaks them."""

from __future__ import annotations

# sign: singular, plural, gender
_PLAIN = {
    "m": ("Meter", "Meter", "m"), "g": ("Gramm", "Gramm", "n"), "l": ("Liter", "Liter", "m"),
    "L": ("Liter", "Liter", "m"), "t": ("Tonne", "Tonnen", "f"), "W": ("Watt", "Watt", "n"),
    "Wh": ("Wattstunde", "Wattstunden", "f"), "V": ("Volt", "Volt", "n"), "A": ("Ampere", "Ampere", "n"),
    "Hz": ("Hertz", "Hertz", "n"), "B": ("Byte", "Byte", "n"), "Byte": ("Byte", "Byte", "n"),
    "bit": ("Bit", "Bit", "n"), "Bit": ("Bit", "Bit", "n"), "Pa": ("Pascal", "Pascal", "n"),
    "J": ("Joule", "Joule", "n"), "N": ("Newton", "Newton", "n"), "cal": ("Kalorie", "Kalorien", "f"),
    "Sv": ("Sievert", "Sievert", "n"), "Bq": ("Becquerel", "Becquerel", "n"), "Ω": ("Ohm", "Ohm", "n"),
    "F": ("Farad", "Farad", "n"), "mol": ("Mol", "Mol", "n"), "eV": ("Elektronenvolt", "Elektronenvolt", "n"),
    "bar": ("Bar", "Bar", "n"), "s": ("Sekunde", "Sekunden", "f"), "Wp": ("Watt Peak", "Watt Peak", "n"),
    "VA": ("Voltampere", "Voltampere", "n"), "Ah": ("Amperestunde", "Amperestunden", "f"),
    "K": ("Kelvin", "Kelvin", "n"),
}  # fmt: skip
_PREFIXES = {
    "k": "Kilo", "K": "Kilo", "M": "Mega", "G": "Giga", "T": "Tera", "P": "Peta", "m": "Milli", "µ": "Mikro",
    "μ": "Mikro", "n": "Nano", "c": "Zenti", "d": "Dezi", "h": "Hekto", "Ki": "Kibi", "Mi": "Mebi", "Gi": "Gibi",
}  # fmt: skip
_PREFIXED = {
    "m": ("k", "d", "c", "m", "µ", "μ", "n"), "g": ("k", "m", "µ", "μ", "n"), "l": ("h", "d", "c", "m", "µ", "μ"),
    "L": ("m",), "t": ("k", "M"), "W": ("k", "M", "G", "T", "m"), "Wh": ("k", "M", "G", "T"), "V": ("k", "m"),
    "A": ("k", "m"), "Hz": ("k", "M", "G", "T"), "B": ("k", "K", "M", "G", "T", "P", "Ki", "Mi", "Gi"),
    "Byte": ("k", "M", "G", "T"), "bit": ("k", "M", "G", "T"), "Bit": ("k", "M", "G", "T"), "Pa": ("h", "k", "M"),
    "J": ("k", "M"), "N": ("k", "m"), "cal": ("k",), "Sv": ("m", "µ", "μ"), "Ω": ("k", "M"), "mol": ("m", "µ"),
    "eV": ("k", "M", "G"), "bar": ("m",), "s": ("m", "µ", "μ", "n"), "Wp": ("k", "M"), "VA": ("k",), "Ah": ("m", "k"),
    "F": ("µ", "n"),
}  # fmt: skip
_OTHER = {
    "°C": ("Grad Celsius", "Grad Celsius", "n"), "° C": ("Grad Celsius", "Grad Celsius", "n"),
    "°F": ("Grad Fahrenheit", "Grad Fahrenheit", "n"), "° F": ("Grad Fahrenheit", "Grad Fahrenheit", "n"),
    "°": ("Grad", "Grad", "n"), "min": ("Minute", "Minuten", "f"), "h": ("Stunde", "Stunden", "f"),
    "Std.": ("Stunde", "Stunden", "f"), "Std": ("Stunde", "Stunden", "f"), "Min.": ("Minute", "Minuten", "f"),
    "Sek.": ("Sekunde", "Sekunden", "f"), "sec": ("Sekunde", "Sekunden", "f"), "ha": ("Hektar", "Hektar", "m"),
    "qm": ("Quadratmeter", "Quadratmeter", "m"), "cbm": ("Kubikmeter", "Kubikmeter", "m"),
    "m2": ("Quadratmeter", "Quadratmeter", "m"), "m3": ("Kubikmeter", "Kubikmeter", "m"),
    "km2": ("Quadratkilometer", "Quadratkilometer", "m"), "ccm": ("Kubikzentimeter", "Kubikzentimeter", "m"),
    "PS": ("P S", "P S", "f"), "dB": ("Dezibel", "Dezibel", "n"), "dpi": ("D P I", "D P I", "n"),
    "U/min": ("Umdrehung pro Minute", "Umdrehungen pro Minute", "f"), "%": ("Prozent", "Prozent", "n"),
    "‰": ("Promille", "Promille", "n"), "Mio.": ("Million", "Millionen", "f"), "Mio": ("Million", "Millionen", "f"),
    "Mrd.": ("Milliarde", "Milliarden", "f"), "Mrd": ("Milliarde", "Milliarden", "f"),
    "Bio.": ("Billion", "Billionen", "f"), "Mbps": ("Megabit pro Sekunde", "Megabit pro Sekunde", "n"),
    "Mbit": ("Megabit", "Megabit", "n"), "Gbit": ("Gigabit", "Gigabit", "n"), "kbit": ("Kilobit", "Kilobit", "n"),
    "Pkt.": ("Punkt", "Punkte", "m"), "Stk.": ("Stück", "Stück", "n"), "St.": ("Stück", "Stück", "n"),
    "Mt": ("Megatonne", "Megatonnen", "f"), "sm": ("Seemeile", "Seemeilen", "f"), "Ct": ("Cent", "Cent", "m"),
    "ct": ("Cent", "Cent", "m"), "Ct.": ("Cent", "Cent", "m"), "¢": ("Cent", "Cent", "m"),
    "Kcal": ("Kilokalorie", "Kilokalorien", "f"), "Tsd.": ("tausend", "tausend", "n"),
}  # fmt: skip
CURRENCIES = {
    "€": ("Euro", "Euro", "m"), "EUR": ("Euro", "Euro", "m"), "Euro": ("Euro", "Euro", "m"),
    "US$": ("U S Dollar", "U S Dollar", "m"), "US-Dollar": ("U S Dollar", "U S Dollar", "m"),
    "$": ("Dollar", "Dollar", "m"), "USD": ("U S Dollar", "U S Dollar", "m"), "Dollar": ("Dollar", "Dollar", "m"),
    "£": ("Pfund", "Pfund", "n"), "GBP": ("Pfund", "Pfund", "n"), "¥": ("Yen", "Yen", "m"),
    "CHF": ("Franken", "Franken", "m"), "SFr.": ("Franken", "Franken", "m"), "DM": ("D-Mark", "D-Mark", "f"),
    "₽": ("Rubel", "Rubel", "m"), "zł": ("Zloty", "Zloty", "m"), "₹": ("Rupie", "Rupien", "f"),
    "Kč": ("Krone", "Kronen", "f"), "SEK": ("Krone", "Kronen", "f"), "₺": ("Lira", "Lira", "f"),
}  # fmt: skip


def _units() -> dict[str, tuple[str, str, str]]:
    found = {**_PLAIN, **_OTHER}
    for base, prefixes in _PREFIXED.items():
        one, many, gender = _PLAIN[base]
        for prefix in prefixes:
            name = _PREFIXES[prefix]
            found.setdefault(prefix + base, (name + one.lower(), name + many.lower(), gender))
    for sign in ("m", "km", "dm", "cm", "mm", "µm"):
        one, many, gender = found[sign]
        for power, name in (("²", "Quadrat"), ("³", "Kubik")):
            found[sign + power] = (name + one.lower(), name + many.lower(), gender)
    return found


UNITS = _units()
# Letters that are more often the name of something than a unit: read as one only with a blank and without a label.
AMBIGUOUS = frozenset({"A", "B", "N", "J", "K", "F", "V", "L", "St."})
