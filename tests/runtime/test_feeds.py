"""What a graph is fed is checked against what it takes, before a runtime that would read beyond it."""

from __future__ import annotations

import numpy as np
import pytest

from nemo_ext.errors import NemoExtError
from nemo_ext.runtime.feeds import check_feeds
from nemo_ext.runtime.session import Port

PORTS = [Port("text", "int64", ("B", "T")), Port("pace", "float32", ("B", "T"))]


@pytest.mark.parametrize("length", [2, 4])
def test_an_axis_has_one_length_neither_less_nor_more(length: int) -> None:
    text = np.zeros((1, 3), np.int64)
    assert check_feeds(PORTS, {"text": text, "pace": np.ones((1, 3), np.float32)}, "the graph")
    with pytest.raises(
        NemoExtError, match=rf"'pace' has shape \(1, {length}\), so T is {length}, and of 'text' it is 3"
    ):
        check_feeds(PORTS, {"text": text, "pace": np.ones((1, length), np.float32)}, "the graph")
