"""What the English rules know of words: names of rulers, words that a number belongs to, streets."""

from __future__ import annotations

MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
SHORT_MONTHS = {"Jan": 0, "Feb": 1, "Mar": 2, "Apr": 3, "Jun": 5, "Jul": 6, "Aug": 7, "Sep": 8, "Sept": 8, "Oct": 9}
SHORT_MONTHS |= {"Nov": 10, "Dec": 11}
DAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday",
    "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
STREETS = {
    "St": "Street", "Dr": "Drive", "Ave": "Avenue", "Av": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Ln": "Lane",
    "Ct": "Court", "Pl": "Place", "Hwy": "Highway", "Sq": "Square", "Pkwy": "Parkway", "Ter": "Terrace",
    "Cir": "Circle", "Trl": "Trail", "Expy": "Expressway", "Fwy": "Freeway",
}  # fmt: skip
# People whose number is spoken as an ordinal: rulers, popes, and men named after their fathers.
NAMES = frozenset(
    """louis henry elizabeth george edward charles william richard james john paul benedict francis pius gregory leo
    innocent alexander nicholas peter catherine frederick philip ferdinand joseph leopold otto ludwig wilhelm karl
    ramesses ramses ptolemy cleopatra napoleon mary anne victoria christian gustav gustavus olaf oscar harald haakon
    alfonso pedro juan carlos felipe robert david malcolm kenneth duncan ivan vladimir boniface clement sixtus urban
    julius adrian stephen henri philippe thomas theodore constantine justinian darius xerxes artaxerxes thutmose
    amenhotep tutankhamun seti mehmed murad selim suleiman abdul mohammed muhammad hassan hussein abdullah faisal
    rama albert margaret beatrix isabella maria samuel arthur harry walter frank winston edgar hugh martin eugene
    celestine honorius callixtus marcellus king queen pope emperor tsar czar prince sultan kaiser""".split()  # noqa: SIM905
)
# Words that a Roman numeral counts, as a plain number.
LABELS = frozenset(
    """war chapter part act scene volume book section article title type phase stage level class appendix figure table
    bowl episode season verse canto unit module lesson step tier category group division paragraph clause schedule
    annex exhibit problem question round symphony sonata concerto opus region zone factor mark""".split()  # noqa: SIM905
)
ORDINAL_NOUNS = frozenset("century centuries dynasty olympiad corps legion amendment army congress".split())  # noqa: SIM905
# Words whose number is read in pairs: "Room 101", "Boeing 747".
IN_PAIRS = frozenset(
    """boeing airbus flight route room highway interstate porsche peugeot apartment apt suite bus area hwy channel
    psalm locker cell ward unit mazda volvo bmw ferrari cessna hotel""".split()  # noqa: SIM905
)
# Words before a number that is one of several; a letter behind it is a letter: "Gate 5B".
PLACES = frozenset(
    "room gate seat row apartment apt suite flat unit platform terminal building block route exit bus".split()  # noqa: SIM905
)
SAYING = frozenset(
    """said say says saying answer answered answers answering reply replied replies told whispered shouted cried means
    or voted vote votes voting mumbled muttered nodded thought thinks with firm definite resounding big
    simple flat just simply heard hear meant""".split()  # noqa: SIM905
)
# Words that begin a sentence: behind an abbreviation at its end.
BEGINNERS = frozenset(
    """a after all also an and as at because before both but during each even every finally first for from he her here
    his how i if in it its last later many maybe most my next no nobody now of on once one only or our perhaps she
    since so some soon still suddenly that the their then there these they this those though three today tomorrow two
    until we what when where which while who why with yes yesterday yet you your""".split()  # noqa: SIM905
)
