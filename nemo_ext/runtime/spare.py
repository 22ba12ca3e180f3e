"""What an engine does not take is run without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nemo_ext.errors import NemoExtError
from nemo_ext.runtime.feeds import beyond
from nemo_ext.runtime.session import Feeds, Session


class Spared:
    """An engine's session, and one of the same graph that takes any shape: opened when it is first needed.

    A profile holds what is usual; one long sentence, or one short word, is no reason to stay silent.
    """

    def __init__(self, engine: Session, open_other: Callable[[], Session], tell: Callable[[str], None]) -> None:
        """``tell``: hears, in a line, of every run that was not the engine's."""
        self._engine, self._open, self._tell = engine, open_other, tell
        self._other: Session | None = None
        self.backend, self.limits = engine.backend, engine.limits
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def run(self, feeds: Feeds, wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """See ``runtime.session.Session.run``; a shape outside the engine's is none that is refused.

        Raises:
            NemoExtError: as there; or nothing else can run the graph here.
        """
        outside = beyond(self.limits, feeds)
        if not outside:
            return self._engine.run(feeds, wanted)
        if self._other is None:
            try:
                self._other = self._open()
            except NemoExtError as error:
                raise NemoExtError(f"{outside}, and nothing else runs the graph here: {error}") from error
        said = self._other.run(feeds, wanted)
        self._tell(f"{outside}: {self._other.backend} ran it")
        return said
