"""English sentences of our own, for the corpus that espeak reads: made by a seeded generator, never downloaded.

The word lists were chosen so that every English phoneme comes up often, at the beginning, inside and at the end of
words and next to many others. Words with two pronunciations (read, live, wind) and numerals are left out: what is
heard must follow from what is written. The unseen sentences share no template, and only everyday words, with these.
"""

from __future__ import annotations

import random
import re

from nemo_ext.errors import NemoExtError

_WORDS: dict[str, tuple[str, ...]] = {
    "who": (
        "the captain", "my father", "her brother", "our teacher", "the doctor", "a young girl", "the old judge",
        "my cousin", "the farmer", "their neighbour", "the cook", "a stranger", "the boy", "his mother", "the queen",
        "the driver", "our guide", "the nurse", "a painter", "the choir", "my uncle", "the baker", "the sailor",
        "a journalist", "the watchman", "her nephew", "the tailor", "our youngest child", "the village chief",
    ),
    "whom": (
        "them", "us", "him", "her", "the children", "George", "Martha", "Joyce", "Theodore", "Heather", "Chuck",
        "the visitors", "Hugh", "Louise", "Vivian", "the crowd", "Yolanda", "Keith", "Zachary", "Beth",
    ),
    "did": (
        "found", "carried", "watched", "pushed", "sold", "borrowed", "measured", "washed", "forgot", "caught",
        "bought", "threw", "pulled", "polished", "shook", "chose", "enjoyed", "hid", "drew", "mixed", "wrapped",
        "fetched", "joined", "guarded", "cooked", "praised", "judged", "noticed", "touched", "moved", "kept",
        "squeezed", "balanced", "crushed", "brought", "described", "finished", "opened", "followed", "voiced",
    ),
    "do": (
        "find", "carry", "watch", "push", "sell", "borrow", "measure", "wash", "forget", "catch", "buy", "throw",
        "pull", "polish", "shake", "choose", "enjoy", "hide", "draw", "mix", "wrap", "fetch", "join", "guard", "cook",
        "praise", "judge", "notice", "touch", "move", "keep", "squeeze", "bring", "describe", "finish", "open",
    ),
    "adj": (
        "yellow", "heavy", "broken", "cheap", "smooth", "thick", "noisy", "purple", "curious", "fresh", "warm",
        "ancient", "huge", "gentle", "joyful", "hollow", "royal", "golden", "tiny", "dusty", "bright", "rough",
        "spoiled", "healthy", "southern", "loyal", "beige", "unusual", "square", "pure", "narrow", "striped", "quiet",
        "thirsty", "foolish", "valuable", "awkward", "moist", "loud", "grey", "shallow", "precious", "sharp", "calm",
    ),
    "thing": (
        "box", "chair", "bicycle", "ring", "shovel", "watch", "treasure", "cloth", "jacket", "mirror", "bottle",
        "hammer", "bridge", "feather", "letter", "coin", "garage door", "violin", "basket", "picture", "engine",
        "cheese", "orange", "book", "wheel", "spoon", "lamp", "blanket", "toy", "boat", "curtain", "pillow",
        "judge's hat", "television", "wash tub", "thimble", "bouquet", "clock", "kite", "puzzle", "vase", "pear",
        "saw", "fur coat",
    ),
    "beings": (
        "horses", "mice", "foxes", "geese", "puppies", "owls", "bees", "tigers", "chickens", "wolves", "sheep",
        "monkeys", "oysters", "thrushes", "goats", "whales", "cows", "zebras", "lions", "jaguars", "frogs", "doves",
    ),
    "act": (
        "slept", "jumped", "laughed", "shouted", "drank", "marched", "waited", "vanished", "argued", "sang", "yawned",
        "wandered", "gathered", "played", "danced", "rejoiced", "howled", "searched for food", "stood still",
        "rushed about", "breathed softly", "chewed grass", "looked for shade",
    ),
    "where": (
        "in the kitchen", "behind the church", "near the river", "under the bridge", "at the market", "by the fire",
        "beyond the southern hills", "on the roof", "inside the garage", "along the path", "in the woods",
        "beside the mill", "above the valley", "at the edge of town", "through the orchard", "across the field",
        "around the fountain", "below the tower", "between two oaks", "outside the theatre", "on the beach",
        "against the wall", "upstairs", "over there", "among the bushes", "down in the cave", "at the railway station",
    ),
    "when": (
        "yesterday", "this morning", "before lunch", "after the storm", "last Thursday", "at night", "in July",
        "every evening", "during the voyage", "long ago", "once a year", "in the autumn", "at noon", "on Sunday",
        "for an hour", "all day long", "as usual", "without a sound", "with pleasure", "too early", "in February",
    ),
    "how": (
        "slowly", "carefully", "with joy", "cheerfully", "quite often", "rather poorly", "in a hurry", "very well",
        "smoothly", "without a fuss", "like a champion", "once again", "as a rule", "far too loudly", "by mistake",
    ),
    "mass": (
        "sugar", "water", "coffee", "bread", "ginger", "paper", "gravel", "honey", "cotton", "thread", "oil", "fish",
        "soil", "wood", "garlic", "vanilla", "leather", "rice", "fruit", "soup", "milk", "chalk", "ash", "wool",
    ),
    "is": (
        "is", "was", "looks", "seemed", "became", "stays", "sounds", "felt", "turned out", "will be", "must have been",
    ),
    "idea": (
        "the decision", "this journey", "her voice", "the weather", "our future", "the question", "that noise",
        "the whole adventure", "such behaviour", "their friendship", "the illusion", "good advice", "the choice",
        "his vision", "the project", "that habit", "the village feast", "a short pause", "the truth", "their youth",
    ),
    "quality": (
        "strange", "easy", "dangerous", "worth the trouble", "hard to explain", "clear enough", "full of surprises",
        "lucky", "rather boring", "far from simple", "quite natural", "very pleasant", "mysterious", "too costly",
        "wonderful", "joyless", "unusual", "just right", "worse than before", "thoroughly modern",
    ),
    "number": (
        "two", "three", "four", "five", "six", "seven", "eight", "nine", "eleven", "twelve", "thirteen", "fifty",
        "a dozen", "several", "both", "a few", "too many", "a hundred",
    ),
    "things": (
        "boxes", "chairs", "watches", "cherries", "rings", "letters", "coins", "bridges", "feathers", "oranges",
        "bottles", "books", "mirrors", "baskets", "toys", "boats", "gloves", "drums", "wheels", "pictures", "clothes",
        "shoes", "vases", "badges", "songs", "leaves", "matches", "pages", "trousers", "stones", "eggs", "cups",
    ),
    "please": ("please", "kindly", "quickly", "now", "first", "then", "never", "always", "just", "do not"),
    "oh": ("oh", "yes", "no", "well", "look", "hurrah", "hush", "wow", "ah", "of course", "my goodness", "listen"),
}  # fmt: skip

_TEMPLATES = (
    "{who} {did} the {adj} {thing} {where}.",
    "{who} {did} {number} {adj} {things} {when}.",
    "{when}, {who} {did} the {thing}.",
    "{number} {adj} {beings} {act} {where}.",
    "did {who} really {do} the {adj} {thing}?",
    "why does {who} never {do} the {things}?",
    "will you {do} this {adj} {thing} {when}?",
    "where did they {do} the {adj} {things}?",
    "{please} {do} the {adj} {thing} {where}.",
    "{please} {do} the {things} {how}!",
    "{oh}, the {adj} {thing} {is} {quality}!",
    "{oh}, {who} {did} the {thing} {how}!",
    "{idea} {is} {quality}.",
    "{idea} {is} {quality}, but {idea} {is} {quality}.",
    "{who} gave {whom} a {thing} and some {mass}.",
    "{who} asked {whom} for {mass}, {mass} and {mass}.",
    "we {did} {number} {things}, and {whom} {did} the rest {how}.",
    "if {who} {act}, the {beings} {act} too.",
    "{whom} and {whom} {act} {where} {when}.",
    "the {beings} {act} {where}, while {who} {act}.",
    "there is {adj} {mass} {where}.",
    "there were {number} {beings} {where} {when}.",
    "nobody knows why {who} {did} the {thing}.",
    "I think {idea} {is} {quality}.",
    "she said that {who} {act} {when}.",
    "could you {do} {whom} a {adj} {thing}?",
    "{mass} and {mass} are {adj}, yet {mass} is not.",
    "he {did} a {thing} made of {mass}.",
    "{who} {act} {how} {where}.",
    "they {did} the {thing} and {did} the {things}.",
)
_SUBJECT_OF = {"them": "they", "us": "we", "him": "he", "her": "she"}  # where "whom" does something
_TWO_OBJECTS = ("find", "sell", "buy", "throw", "choose", "fetch", "cook", "bring", "draw", "open", "wrap")

_UNSEEN = (
    "Tomorrow the train leaves from platform ten.",
    "My sister plays football in the park after school.",
    "What time does the library close on Fridays?",
    "A cold breeze came down from the mountain.",
    "I have never tasted such delicious apple pie!",
    "Somebody left a green umbrella on the bus.",
    "Can you hear the rain upon the window?",
    "The professor explained the theory to her students.",
    "Our flight to London was delayed by thick fog.",
    "Take two tablets with a glass of juice.",
    "Nothing grows in the desert without rain.",
    "He speaks French, German and a little Spanish.",
    "Turn left at the corner, then walk straight ahead.",
    "The moon rose over the silent harbour.",
    "Which of these shirts should I wear tonight?",
    "They built a small cabin beside a frozen lake.",
    "Thank you for your help with the garden.",
    "Her grandmother told us a story about a dragon.",
    "The concert begins at half past eight.",
    "Put your toys away before you go to bed!",
    "Science has changed the way people think.",
    "A thousand stars were shining in the sky.",
    "Does anyone remember the name of that island?",
    "The price of gas went up again this month.",
    "He fell off his skateboard and hurt his knee.",
    "Snow covered every branch of the pine trees.",
    "We should leave early to avoid the traffic.",
    "The bank on Main Street is closed today.",
    "I dreamed about flying above the clouds.",
    "Please speak after the beep.",
    "An honest answer is better than a clever excuse.",
    "The museum shows art from Egypt and Greece.",
    "Are you allergic to peanuts or shellfish?",
    "She painted the fence white and the gate blue.",
    "Large ships cannot pass through this channel.",
    "My phone battery lasts about nine hours.",
    "The dog barked at the postman again.",
    "Good morning, and welcome aboard!",
    "Their team won the final match by a single goal.",
    "You can pay by card or with cash.",
    "The lighthouse guided many ships home.",
    "Don't forget to water the plants while I am gone.",
    "Every winter the swallows fly to Africa.",
    "How much does a ticket to Boston cost?",
    "The soup needs a pinch of salt and some pepper.",
    "He whistled a tune that none of us knew.",
    "Spring is my favourite season of the year.",
    "The new law protects rivers and forests.",
    "Wait a moment, I am almost ready.",
    "Ice melts faster on a sunny afternoon.",
)  # fmt: skip


def sentences(count: int, seed: int = 0) -> list[str]:
    """``count`` distinct sentences of 3 to 12 words; the same for the same ``seed``, and a longer list only adds.

    Raises:
        NemoExtError: more than the generator can make different.
    """
    if count > 20000:
        raise NemoExtError(f"{count} sentences are more than the generator can tell apart; ask for 20000 or fewer")
    chance = random.Random(seed)
    found: dict[str, None] = {}  # in order, without repeats
    pools: dict[str, list[str]] = {name: [] for name in _WORDS}
    while len(found) < count:
        for template in chance.sample(_TEMPLATES, len(_TEMPLATES)):
            sentence = _fill(template, pools, chance)
            if 3 <= len(sentence.split()) <= 12 and sentence not in _UNSEEN:
                found.setdefault(sentence)
    return list(found)[:count]


def unseen_sentences(count: int = len(_UNSEEN)) -> list[str]:
    """``count`` sentences (at most 50) that the generator cannot make: to be spoken by a model trained on it.

    Raises:
        NemoExtError: more than there are.
    """
    if not 0 < count <= len(_UNSEEN):
        raise NemoExtError(f"there are {len(_UNSEEN)} unseen sentences; ask for 1 to {len(_UNSEEN)}, not {count}")
    return list(_UNSEEN[:count])


def _fill(template: str, pools: dict[str, list[str]], chance: random.Random) -> str:
    """A sentence of ``template``, with words drawn so that each of a list comes up before any comes up again."""

    def draw(match: re.Match[str]) -> str:
        name = match.group(1)
        if not pools[name]:
            pools[name] = chance.sample(_WORDS[name], len(_WORDS[name]))
        word = pools[name].pop()
        is_subject = match.start() == 0 or template[: match.start()].endswith("and ")
        return _SUBJECT_OF.get(word, word) if name == "whom" and is_subject else word

    if "{do} {whom}" in template:
        template = template.replace("{do} {whom}", f"{chance.choice(_TWO_OBJECTS)} {{whom}}")
    sentence = re.sub(r"\{(\w+)\}", draw, template)
    sentence = re.sub(r"\ba (?=[aeiou](?!ni))", "an ", sentence)  # an orange, but a union
    return sentence[0].upper() + sentence[1:]
