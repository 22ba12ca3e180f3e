"""What graphs are compared on, and what an engine's profile leaves of it.

One sentence and eight, the shortest, a usual and the longest text, more than 2,048 frames (where float16 no longer
counts), and tokens without a frame. An engine takes shapes within its profile: cases are cut to it, and its own least,
usual and largest shape are cases too, because float16 has gone silent away from the usual one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nemo_ext.runtime.session import Port

SHORTEST, USUAL, LONGEST, MANY_FRAMES, TOGETHER = 2, 60, 400, 2300, 8
Lengths = tuple[int, int, int]  # of an axis in a profile: least, usual, largest
_OWN = ("least", "usual", "largest")


@dataclass(frozen=True)
class Case:
    """What a graph is given."""

    name: str
    lens: tuple[int, ...]  # of each sentence in tokens; of each mel or recording in frames
    frames: int = 0  # speak as slowly as makes so many; 0: at the usual pace
    skip: bool = False  # every third token so fast that it gets no frame


CASES = (
    Case("shortest", (SHORTEST,)),
    Case("usual", (USUAL,)),
    Case("longest", (LONGEST,)),
    Case("over 2,048 frames", (USUAL,), frames=MANY_FRAMES),
    Case("eight", tuple(USUAL - 7 * i for i in range(TOGETHER))),
    Case("eight, tokens without a frame", tuple(USUAL - 7 * i for i in range(TOGETHER)), skip=True),
)
RIVA_CASES = (CASES[1], CASES[3], CASES[4])
RAGGED = Case("eight, one after the other", CASES[4].lens)
MELS = tuple(Case(f"{batch} of {n} frames", (n,) * batch) for n, batch in ((30, 1), (400, 1), (100, TOGETHER)))
USUAL_MEL = MELS[1]
REFERENCES = (Case("1 references", (40,)), Case("4 references", (400, 300, 200, 57)))


def fitted(
    cases: Iterable[Case], inputs: Iterable[Port], profile: Mapping[str, Sequence[Sequence[int]]]
) -> tuple[list[Case], dict[str, str]]:
    """``cases`` within an engine's ``profile``, and its own shapes; and why a case is left out, by its name.

    ``inputs``: the graph's, whose axes have names: B and one other.
    """
    batch, length = _axes(inputs, profile)
    own = [Case(f"{name} shape of the profile", (length[i],) * batch[i]) for i, name in enumerate(_OWN)]
    kept: list[Case] = []
    left: dict[str, str] = {}
    for case in (*cases, *own):
        lens = _cut(case.lens, batch, length)
        name = case.name if lens == case.lens else f"{case.name}, cut to {len(lens)} of {max(lens)}"
        one = replace(case, name=name, lens=lens)
        same = [other.name for other in kept if replace(other, name=name) == one]
        if same:
            left[case.name] = f"within the profile it is the case '{same[0]}'"
        else:
            kept.append(one)
    return kept, left


def _axes(inputs: Iterable[Port], profile: Mapping[str, Sequence[Sequence[int]]]) -> tuple[Lengths, Lengths]:
    """Of the batch, and of the other axis whose length is free."""
    found: dict[str, Lengths] = {}
    for port in inputs:
        least, usual, largest = profile[port.name]
        found |= {n: (least[i], usual[i], largest[i]) for i, n in enumerate(port.shape) if isinstance(n, str)}
    batch = found.pop("B")
    (length,) = found.values()
    return batch, length


def _cut(lens: Sequence[int], batch: Lengths, length: Lengths) -> tuple[int, ...]:
    count = min(max(len(lens), batch[0]), batch[2])
    cut = tuple(min(lens[i % len(lens)], length[2]) for i in range(count))
    # a shorter sentence beside a long one is padded, so that the longest alone decides
    return cut if max(cut) >= length[0] else (length[0],) * count
