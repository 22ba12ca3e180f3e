"""Units, currencies and powers of ten, as English writes and speaks them."""

from __future__ import annotations

_PREFIXES = {
    "k": "kilo", "K": "kilo", "M": "mega", "G": "giga", "T": "tera", "P": "peta", "m": "milli", "µ": "micro",
    "μ": "micro", "n": "nano", "c": "centi", "d": "deci", "h": "hecto", "Ki": "kibi", "Mi": "mebi", "Gi": "gibi",
}  # fmt: skip
# sign: name, prefixes
_PREFIXED = {
    "m": ("meter", "k c m µ μ n"), "g": ("gram", "k m µ μ n"), "L": ("liter", "m d c"), "l": ("liter", "m d c h"),
    "W": ("watt", "k M G T m"), "Wh": ("watt hour", "k M G T"), "V": ("volt", "k m"), "A": ("ampere", "m"),
    "B": ("byte", "k K M G T P Ki Mi Gi"), "bit": ("bit", "k M G"), "J": ("joule", "k M"), "cal": ("calorie", "k"),
    "s": ("second", "m µ μ n"), "Pa": ("pascal", "h k M"), "N": ("newton", "k"), "Sv": ("sievert", "m µ"),
    "eV": ("electronvolt", "k M G"), "b": ("bit", "k M G"), "Ah": ("ampere hour", "m"), "t": ("ton", "k M"),
    "bar": ("bar", "m"), "Ω": ("ohm", "k M"),
}  # fmt: skip
# sign: singular, plural
_OTHER = {
    "Hz": ("hertz", "hertz"), "kHz": ("kilohertz", "kilohertz"), "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"), "THz": ("terahertz", "terahertz"),
    "°C": ("degree Celsius", "degrees Celsius"), "° C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"), "° F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"), "min": ("minute", "minutes"), "min.": ("minute", "minutes"), "h": ("hour", "hours"),
    "hr": ("hour", "hours"), "hrs": ("hours", "hours"), "hr.": ("hour", "hours"), "hrs.": ("hours", "hours"),
    "mins": ("minutes", "minutes"), "sec": ("second", "seconds"), "secs": ("seconds", "seconds"),
    "sec.": ("second", "seconds"), "ft": ("foot", "feet"), "ft.": ("foot", "feet"), "in.": ("inch", "inches"),
    "yd": ("yard", "yards"), "yd.": ("yard", "yards"), "yds": ("yards", "yards"), "mi": ("mile", "miles"),
    "mi.": ("mile", "miles"), "lb": ("pound", "pounds"), "lb.": ("pound", "pounds"), "lbs": ("pounds", "pounds"),
    "lbs.": ("pounds", "pounds"), "oz": ("ounce", "ounces"), "oz.": ("ounce", "ounces"), "gal": ("gallon", "gallons"),
    "gal.": ("gallon", "gallons"), "pt.": ("pint", "pints"), "qt.": ("quart", "quarts"), "qt": ("quart", "quarts"),
    "tsp": ("teaspoon", "teaspoons"), "tsp.": ("teaspoon", "teaspoons"), "tbsp": ("tablespoon", "tablespoons"),
    "tbsp.": ("tablespoon", "tablespoons"), "fl oz": ("fluid ounce", "fluid ounces"),
    "fl. oz.": ("fluid ounce", "fluid ounces"), "sq ft": ("square foot", "square feet"),
    "sq. ft.": ("square foot", "square feet"), "sq mi": ("square mile", "square miles"),
    "sq km": ("square kilometer", "square kilometers"), "sq m": ("square meter", "square meters"),
    "sq. mi.": ("square mile", "square miles"), "ft²": ("square foot", "square feet"),
    "in²": ("square inch", "square inches"), "mi²": ("square mile", "square miles"),
    "ft³": ("cubic foot", "cubic feet"), "in³": ("cubic inch", "cubic inches"), "cu ft": ("cubic foot", "cubic feet"),
    "cc": ("C C", "C C"), "ha": ("hectare", "hectares"), "mph": ("mile per hour", "miles per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"), "kmh": ("kilometer per hour", "kilometers per hour"),
    "mpg": ("mile per gallon", "miles per gallon"), "rpm": ("revolution per minute", "revolutions per minute"),
    "fps": ("frame per second", "frames per second"), "bpm": ("beat per minute", "beats per minute"),
    "Mbps": ("megabit per second", "megabits per second"), "Gbps": ("gigabit per second", "gigabits per second"),
    "kbps": ("kilobit per second", "kilobits per second"), "psi": ("P S I", "P S I"), "dB": ("decibel", "decibels"),
    "hp": ("horsepower", "horsepower"), "kt": ("knot", "knots"), "kts": ("knots", "knots"),
    "%": ("percent", "percent"), "‰": ("per mille", "per mille"), "yr": ("year", "years"), "yrs": ("years", "years"),
    "mol": ("mole", "moles"), "K": ("kelvin", "kelvin"), "ppm": ("part per million", "parts per million"),
    "px": ("pixel", "pixels"), "dpi": ("dot per inch", "dots per inch"), "wk": ("week", "weeks"),
    "BTU": ("B T U", "B T U"), "MP": ("megapixel", "megapixels"), "m2": ("square meter", "square meters"),
    "m3": ("cubic meter", "cubic meters"), "km2": ("square kilometer", "square kilometers"),
    "ft-lb": ("foot pound", "foot pounds"), "¢": ("cent", "cents"), "kcal": ("kilocalorie", "kilocalories"),
}  # fmt: skip
# sign: singular, plural, hundredth part
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"), "US$": ("U S dollar", "U S dollars", "cent", "cents"),
    "A$": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "C$": ("Canadian dollar", "Canadian dollars", "cent", "cents"), "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"), "¥": ("yen", "yen", "", ""), "₹": ("rupee", "rupees", "", ""),
    "₩": ("won", "won", "", ""), "₽": ("ruble", "rubles", "", ""), "₺": ("lira", "lira", "", ""),
    "USD": ("U S dollar", "U S dollars", "cent", "cents"), "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"), "CHF": ("Swiss franc", "Swiss francs", "", ""),
}  # fmt: skip
POWERS = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mm": "million", "mn": "million",
    "B": "billion", "b": "billion", "bn": "billion", "T": "trillion", "tn": "trillion", "trn": "trillion",
}  # fmt: skip


def _units() -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for sign, (name, prefixes) in _PREFIXED.items():
        if sign not in ("b", "bit"):
            found[sign] = (name, name + "s")
        for prefix in prefixes.split():
            found[prefix + sign] = (_PREFIXES[prefix] + name, _PREFIXES[prefix] + name + "s")
    for sign in ("m", "km", "cm", "mm", "µm"):
        one, many = found[sign]
        found[sign + "²"], found[sign + "³"] = (f"square {one}", f"square {many}"), (f"cubic {one}", f"cubic {many}")
    return {**found, **_OTHER}


UNITS = _units()
# Letters that are more often something else behind a number: read as a unit only in "5 A", not in "5A".
AMBIGUOUS = frozenset({"A", "B", "N", "J", "K", "V", "L", "t", "T"})
