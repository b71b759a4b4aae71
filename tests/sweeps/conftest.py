import pytest


@pytest.fixture(autouse=True)
def _quick(without_figures: None) -> None: ...
