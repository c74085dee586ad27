"""Real odd files, if this machine has them. Otherwise the tests that read them are skipped."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"


def pytest_generate_tests(metafunc):
    """A test with the argument `odd_image` or `odd_sound` runs once per file of that folder."""
    for name, folder in {"odd_image": DATA / "odd_images", "odd_sound": DATA / "odd_audio"}.items():
        if name in metafunc.fixturenames:
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            missing = pytest.param(None, id="none", marks=pytest.mark.skip(reason=f"no files in {folder}"))
            metafunc.parametrize(name, [pytest.param(file, id=file.name) for file in files] or [missing])
