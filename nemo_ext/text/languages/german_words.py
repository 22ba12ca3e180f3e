"""What the German rules know of words: months, genders, and which words ask for which ending."""

from __future__ import annotations

import re

MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()  # noqa: SIM905
DAYS = {
    "Mo": "Montag", "Di": "Dienstag", "Mi": "Mittwoch", "Do": "Donnerstag", "Fr": "Freitag", "Sa": "Samstag",
    "So": "Sonntag",
}  # fmt: skip

# Words that begin a sentence far more often than they follow an ordinal.
BEGINNERS = frozenset(
    """aber alle allerdings als also am an andere auch auf außerdem bald bei beide bis bisher da dabei dadurch dafür
    dagegen daher damals damit danach dann daran darauf daraufhin darin darum das dass davon davor dazu dein dem den
    denn dennoch der deshalb die dies diese dieser dieses doch dort drei du durch ein eine einer eines einige er erst
    es etwa falls für ganz gegen genau gestern hat heute hier hinter ich ihr ihre im immer in inzwischen ist ja jeder
    jedoch jetzt kein keine kommt man manche mehr mein meine mit morgen nach nachdem nein nicht nichts niemand noch nun
    nur ob obwohl oder ohne plötzlich schließlich schon sein seine seit seitdem sie sind so sogar solche sonst sowie
    später statt sein trotzdem über um und unser unter viele vielleicht vom von vor während war warum was weder wegen
    weil weiter welche wenig weniger wenn wer werden wie wieder wir wird wo wobei zu zudem zuerst zuletzt zum zur zwar
    zwei zwischen siehe bitte vgl""".split()  # noqa: SIM905
)
# Words before a number that make "3." an ordinal whatever follows.
INTRODUCERS = frozenset(
    """der die das dem den des am im zum zur vom beim ein eine einem einen einer eines jede jeder jedes jedem jeden
    mein meine meinem meinen meiner dein deine deinem deinen deiner sein seine seinem seinen seiner ihr ihre ihrem
    ihren ihrer unser unsere unserem unseren unserer kein keine keinem keinen keiner dieser diese dieses diesem diesen
    ins ans""".split()  # noqa: SIM905
)
_WEAK = frozenset("am im zum zur vom beim dem den des seit ab bis nach vor von mit zwischen".split())  # noqa: SIM905
_PREPOSITIONS = frozenset(
    """in an auf von mit bei nach vor seit zu aus unter neben zwischen über hinter während wegen trotz innerhalb
    außerhalb ab gegenüber statt""".split()  # noqa: SIM905
)
# Nouns that are counted by ordinals: an article may be missing before these.
ORDINAL_NOUNS = frozenset(
    """akt advent auflage ausgabe band bundesliga etage etappe fassung fc fußballclub geburtstag halbjahr halbzeit
    hälfte jahr jahrgang jahrhundert jahrtausend juror kapitel klasse kongress lauf lebensjahr liga mal minute monat
    obergeschoss og person platz preis quartal rang reihe reich runde saison satz schritt semester spieltag staffel
    stock strophe stufe stunde tag teil treffen untergeschoss versuch viertel weihnachtstag weltkrieg wahl wahlgang
    woche zweig""".split()  # noqa: SIM905
)
# Words whose number names one of several things: "Kapitel 1", no plural and no "ein".
LABELS = frozenset(
    """nummer nr kapitel seite platz zimmer teil version typ gruppe level stufe klasse abschnitt artikel kanal gleis
    punkt ziffer absatz abs art satz tabelle tab abbildung abb bild aufgabe übung paragraf paragraph band raum haus
    halle tor akt szene vers heft phase runde station linie formel gleichung anhang anlage anmerkung beispiel bd kap
    s str straße weg allee gasse platte variante modell größe stock etage spalte zeile position schritt zone
    generation staffel folge episode beispiel android windows ios python linux ubuntu firmware software release build
    update ausgabe patch""".split()  # noqa: SIM905
)
_FEMININE = frozenset(
    """million milliarde billion billiarde stunde minute sekunde tonne tasse flasche seite meile katze frau tochter
    mutter schwester person stadt nacht hand bank kuh maus gans wand nuss frucht stimme kraft fahrt karte
    antwort arbeit art bahn burg dauer fabrik form frist furcht gefahr geschichte gewalt haut hilfe jacht kirsche last
    liste luft macht mannschaft milch musik nummer natur not ordnung packung pflicht post prüfung reihe schrift schuld
    spur steuer tür uhr wahl ware welt zahl zeit zehe kamera oma pizza cola villa firma mama agentur figur kultur
    reparatur tastatur temperatur box mail sms app batterie ampel insel kugel nadel regel schaufel schüssel tafel
    wurzel gabel feder mauer leiter nummer schulter ziffer kammer faser party dose büchse couch ehe fee
    idee armee allee mark unze krone lira rupie prise kiste kilowattstunde wattstunde""".split()  # noqa: SIM905
)
_NEUTER = frozenset(
    """jahr pfund kilo kilogramm gramm dutzend prozent glas blatt leben kind mal haus auto buch bild tier pferd schwein
    huhn schaf ei brot bier wort land dorf tor spiel stück paar zimmer bett fenster dach rad schiff boot flugzeug fest
    geschenk kleid hemd herz auge ohr bein knie haar gesicht gebäude ende interesse gemüse getränk gericht gefühl
    gebiet gesetz gespräch gewicht geschäft gebet hotel restaurant büro kino theater museum konzert foto video radio
    handy telefon programm projekt produkt problem system team thema ziel amt feld feuer geld gold licht lied meer
    metall netz opfer papier recht ufer volk wasser werk wetter wunder ticket paket kapitel viertel drittel fünftel
    achtel zehntel quartal semester halbjahr jahrhundert jahrtausend reich obergeschoss byte kilobyte
    megabyte gigabyte terabyte bit baby messer muster leder zeichen treffen essen königreich""".split()  # noqa: SIM905
)
_MASCULINE_E = frozenset(
    """junge kunde kollege name gedanke buchstabe käse hase löwe affe neffe zeuge erbe experte riese bote russe franzose
    pole grieche türke chinese schotte däne brite ire bulle drache funke glaube wille haufe friede psychologe biologe
    pate rabe sklave heide jude bube knabe laie""".split()  # noqa: SIM905
)
_FEMININE_ENDS: tuple[str, ...] = ("ung", "heit", "keit", "schaft", "tion", "sion", "tät", "enz", "anz", "ette", "ik")
_FEMININE_ENDS += ("itis", "erin", "ei", "ie")
_NEUTER_ENDS = ("chen", "lein", "ment", "tum", "um", "nis", "zeug")
_ACCUSATIVE = frozenset(
    """hat habe hast haben hatte hatten braucht brauche brauchen brauchte kauft kaufe kaufte kaufen sieht sehe sehen sah
    für ohne um durch gegen trinkt trinke trank trinken isst esse aß essen kostet kosten kostete dauert dauerte dauern
    wiegt wog misst maß gibt gab zahlt zahlte zahlen zahle bekommt bekam bekommen verkauft verlor verliert gewann
    gewinnt findet fand nimmt nahm nehmen bestellt bestellte mache macht machte pro je bis kaufen besitzt besaß
    trägt trug enthält enthielt sucht suchte suche suchen kennt kenne hole holt holte spart sparte""".split()  # noqa: SIM905
)
_DATIVE = frozenset("mit nach von aus bei seit zu vor in ab außer innerhalb binnen".split())  # noqa: SIM905
_NOMINATIVE_S = frozenset("nikolaus klaus andreas johannes julius pius matthias thomas markus".split())  # noqa: SIM905
_WOMEN = frozenset(
    """elisabeth katharina maria margarethe margarete beatrix christina isabella anna viktoria victoria johanna sophie
    theresia kleopatra wilhelmina juliana mathilde charlotte""".split()  # noqa: SIM905
)


def gender(noun: str) -> str:
    """``f``, ``n`` or ``m`` of a singular noun, by a lexicon of last parts and by its ending; ``m`` where in doubt."""
    word = noun.lower()
    for length in [len(word), *range(len(word) - 1, 3, -1)]:  # "Schwimmstunde" is a "stunde"
        tail = word[-length:]
        for found, known in (("f", _FEMININE), ("n", _NEUTER), ("m", _MASCULINE_E)):
            if tail in known:
                return found
    if word.endswith(_FEMININE_ENDS):
        return "f"
    if word.endswith(_NEUTER_ENDS) and not word.endswith("aum"):
        return "n"
    return "f" if word.endswith("e") and len(word) > 3 else "m"


def one(noun_gender: str, previous: str, text_before: str = "") -> str:
    """``1`` before a noun: ein, eine, einen, einem or einer, as the word before it asks for."""
    previous = _governor(previous, text_before)
    if previous in _DATIVE:
        return "einer" if noun_gender == "f" else "einem"
    if noun_gender == "f":
        return "eine"
    return "einen" if noun_gender == "m" and previous in _ACCUSATIVE else "ein"


def _governor(previous: str, text_before: str) -> str:
    """The word that decides the case: that before "nur", "etwa" and the like, or before a pronoun: "hat er 1 Hund"."""
    words = re.findall(r"[^\W\d_]+", text_before.lower())[-3:]
    while words and words[-1] in ("nur", "etwa", "fast", "genau", "noch", "mindestens", "höchstens", "circa", "rund"):
        words.pop()
    if len(words) > 1 and words[-1] in ("er", "sie", "es", "ich", "wir", "man", "ihr"):
        words.pop()
    return words[-1] if words and previous else previous


def ordinal_ending(text_before: str, noun: str) -> str:
    """The ending of an ordinal: e, en, er or es, by the words before it and the noun behind it (or an empty string)."""
    # "vom 3. bis 5. Mai", "am 3. und 4. Mai": the first one's article counts for both
    text_before = re.sub(r"(?:\d{1,2}\.\s?(?:bis|und|oder|,|-|sowie)\s*)+$", "", text_before).rstrip()
    words = re.findall(r"[^\W\d_]+|[^\w\s]", text_before.lower())[-6:]
    word = words[-1] if words else ""
    previous = words[-2] if len(words) > 1 else ""
    of = gender(noun) if noun else ""
    strong = {"f": "e", "n": "es", "m": "er"}.get(of, "er" if noun else "e")
    if word in _WEAK:
        return "en"
    if word == "der":
        return "en" if of == "f" or previous in _PREPOSITIONS else "e"
    if re.fullmatch(r"die|das|ins|ans|(jed|dies|jen)(e|es|er)|[mds]?eine|keine|ihre|unsere|eure", word):
        return "e"
    if re.fullmatch(r"(jed|dies|jen)(em|en)|([mdsk]?ein|ihr|unser|eur)(em|en|er|es)", word):
        return "en"
    if re.fullmatch(r"[mdsk]?ein|ihr|unser|euer", word):
        return strong if noun else "er"
    if not noun and (word == "als" or word in ("wurde", "wird", "werde", "wurden")):
        return "e" if "sie" in words else "er" if {"er", "ich", "als"} & set(words) else "e"
    return strong


BYNAMES = frozenset(
    {"barbarossa", "löwenherz", "rotbart", "plantagenet", "tudor", "habsburg"}
)  # behind a ruler's number


def regnal_ending(name: str, text_before: str) -> str:
    """The article and the ending between a ruler's name and number: ``der |e``, ``dem |en``."""
    words = re.findall(r"[^\W\d_]+", text_before)
    while words and words[-1][:1].isupper():  # "mit Papst Johannes Paul II."
        words.pop()
    governor = words[-1].lower() if words else ""
    woman = name.lower() in _WOMEN or name.lower().removesuffix("s") in _WOMEN
    if name.lower().endswith("s") and name.lower() not in _NOMINATIVE_S:
        return "der |en" if woman else "des |en"
    if governor in ("von", "mit", "bei", "unter", "zu", "nach", "seit", "aus", "vor", "gegenüber"):
        return "der |en" if woman else "dem |en"
    if governor in ("für", "durch", "gegen", "ohne", "um"):
        return "die |e" if woman else "den |en"
    return "die |e" if woman else "der |e"
