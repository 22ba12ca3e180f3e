"""A toy bundle, made once."""

import pytest

from tests.export import toys


@pytest.fixture(scope="session")
def toy_export(tmp_path_factory: pytest.TempPathFactory) -> toys.Toys:
    """Graphs of real, tiny models in both layouts, with what an export has at hand beside them."""
    return toys.make(tmp_path_factory.mktemp("toys"))
