"""Scores for the monotonic search with everything that may go wrong in them; also run alone, in a process of its own.

    TRITON_INTERPRET=1 python monotonic_cases.py ROUTE [SCORES.pt]

compares ``search_ROUTE`` with the reference and ends with an error where the paths differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch

from nemo_ext.modules import monotonic

Case = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def cases() -> Iterator[Case]:
    """Ragged batches: equal scores, scores of -inf, texts of one token, as many frames as tokens, random ones."""
    chance = torch.Generator().manual_seed(1)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=chance))

    for number in range(12):
        frames = draw(3, 40)
        tokens = draw(1, frames)
        scores = torch.randn(4, frames, tokens, generator=chance)
        if number % 3 == 0:
            scores = scores.round()  # many are equal
        elif number % 3 == 1:
            scores[torch.rand(scores.shape, generator=chance) < 0.4] = -torch.inf
        token_lens = torch.tensor([tokens, 1, draw(1, tokens), draw(1, tokens)])
        mel_lens = torch.tensor([frames, draw(1, frames), int(token_lens[2]), draw(int(token_lens[3]), frames)])
        yield scores, token_lens, mel_lens
    yield torch.zeros(2, 9, 5), torch.tensor([5, 3]), torch.tensor([9, 8])


def compare(route: str, case: Case) -> None:
    """Fail where ``route`` finds another path than the reference."""
    found = getattr(monotonic, f"search_{route}")(*case)
    expected = monotonic.search(*case)
    assert found.dtype == torch.long
    assert torch.equal(found, expected), (route, case[1].tolist(), case[2].tolist(), found, expected)


if __name__ == "__main__":
    given = list(cases()) + [torch.load(path, weights_only=True) for path in sys.argv[2:]]
    for case in given:
        compare(sys.argv[1], case)
    print(f"{len(given)} the same")
