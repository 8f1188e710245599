import pytest


@pytest.fixture(autouse=True)
def users_folder(tmp_path, monkeypatch):
    """Models are installed in a folder of the test's own."""
    folder = tmp_path / "users models"
    monkeypatch.setenv("NNMAMBA_MODELS", str(folder))
    return folder
