"""A place to import files into."""

from pathlib import Path

import pytest

from tests.api.importing.place import Place, opened


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Place:
    return opened(database_url, tmp_path)
