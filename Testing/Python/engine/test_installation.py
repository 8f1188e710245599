"""Models are added to the user's folder whole and verified, or not at all, and only those can be deleted."""

import json
import os
import shutil
import stat
import zipfile

import pytest

from NNMambaLib import cli
from NNMambaLib.errors import ModelError, OutputError
from NNMambaLib.models.catalogue import bundled_folder, find_package, installed_packages, user_folder
from NNMambaLib.models.installation import delete_package, install_package, is_deletable
from NNMambaLib.support.random_package import random_manifest, write_random_package


@pytest.fixture(autouse=True)
def users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NNMAMBA_MODELS", str(tmp_path / "users models"))
    return tmp_path / "users models"


@pytest.fixture
def package(tmp_path):
    manifest = random_manifest("classification", outputs=2, base_width=4, patch=(16, 16, 16))
    return write_random_package(tmp_path / "source", manifest)


def zipped(folder, path, within="", extra=()):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, within + file.name)
        for name, content in extra:
            archive.writestr(name, content)
    return path


def nothing_is_left(folder):
    return not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "zip", "zip of the folder"])
def test_package_is_installed_under_its_name(package, tmp_path, users_folder, kind):
    sources = {
        "folder": lambda: package.path,
        "zip": lambda: zipped(package.path, tmp_path / "any name.zip"),
        "zip of the folder": lambda: zipped(package.path, tmp_path / "any name.zip", "some folder/"),
    }
    installed = install_package(sources[kind]()).package
    assert installed.path == users_folder / package.manifest.name
    assert find_package(package.manifest.name).sha256 == package.sha256
    assert [path.name for path in users_folder.iterdir()] == [package.manifest.name]
    assert is_deletable(installed.path)


def test_only_data_at_the_top_of_the_package_is_copied(package, tmp_path, users_folder):
    (package.path / "card.md").write_text("# Card", encoding="utf-8")
    (package.path / "run_me.py").write_text("print('no')", encoding="utf-8")
    (package.path / "__pycache__").mkdir()
    path = zipped(package.path, tmp_path / "package.zip", "a/", [("a/deep/notes.md", "x"), ("other/model.txt", "x")])
    assert set(install_package(path).left_out) == {"a/run_me.py", "a/deep/notes.md", "other/model.txt"}
    names = {file.name for file in (users_folder / package.manifest.name).iterdir()}
    assert names == {"card.md", "model.json", "weights.safetensors"}
    assert set(install_package(package.path, replace=True).left_out) == {"run_me.py", "__pycache__"}


@pytest.mark.parametrize("name", ["../evil.md", "a/../../evil.md", "/etc/evil.md", "C:evil.md", "..\\evil.md"])
def test_zip_that_leads_out_of_its_folder_is_refused(package, tmp_path, users_folder, name):
    path = zipped(package.path, tmp_path / "package.zip", extra=[(name, "evil")])
    with pytest.raises(ModelError, match="leads out of its folder"):
        install_package(path)
    assert nothing_is_left(users_folder)
    assert not list(tmp_path.rglob("evil*"))


def test_zip_with_a_link_is_refused(package, tmp_path, users_folder):
    path = zipped(package.path, tmp_path / "package.zip")
    link = zipfile.ZipInfo("card.md")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/hostname")
    with pytest.raises(ModelError, match="leads out"):
        install_package(path)
    assert nothing_is_left(users_folder)


def test_altered_weights_are_refused(package, users_folder):
    weights = package.path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelError, match="altered or damaged"):
        install_package(package.path)
    assert nothing_is_left(users_folder)


def test_weights_of_another_network_are_refused(package, users_folder):
    content = json.loads((package.path / "model.json").read_text(encoding="utf-8"))
    content["network"]["base_width"] = 8
    (package.path / "model.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match="do not fit"):
        install_package(package.path)
    assert nothing_is_left(users_folder)


@pytest.mark.parametrize("damage", ["cut off", "no zip", "no package"])
def test_damaged_zip_is_refused(package, tmp_path, users_folder, damage):
    path = zipped(package.path, tmp_path / "package.zip")
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "no zip":
        path.write_bytes(b"hello")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.md", "nothing")
    with pytest.raises(ModelError):
        install_package(path)
    assert nothing_is_left(users_folder)


def test_installed_model_is_replaced_only_on_demand(package, tmp_path, users_folder):
    install_package(package.path)
    other = write_random_package(tmp_path / "other", package.manifest, seed=1)
    with pytest.raises(ModelError, match="installed already"):
        install_package(other.path)
    assert find_package(package.manifest.name).sha256 == package.sha256
    install_package(other.path, replace=True)
    assert find_package(package.manifest.name).sha256 == other.sha256
    assert [path.name for path in users_folder.iterdir()] == [package.manifest.name]


def test_zip_in_the_users_folder_is_replaced_too(package, users_folder):
    users_folder.mkdir()
    zipped(package.path, users_folder / f"{package.manifest.name}.zip")
    install_package(package.path, replace=True)
    assert [path.name for path in users_folder.iterdir()] == [package.manifest.name]


def test_failed_replacement_leaves_the_old_model(package, tmp_path, users_folder, monkeypatch):
    install_package(package.path)
    other = write_random_package(tmp_path / "other", package.manifest, seed=1)
    replace = os.replace

    def fail(source, target):
        if os.fspath(source).endswith("package"):
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match="Permission denied"):
        install_package(other.path, replace=True)
    assert find_package(package.manifest.name).sha256 == package.sha256


def test_bundled_model_is_neither_replaced_silently_nor_deleted(tmp_path):
    name = next(path.name for path in bundled_folder().iterdir())
    copy = shutil.copytree(bundled_folder() / name, tmp_path / "copy")
    with pytest.raises(ModelError, match="installed already"):
        install_package(copy)
    with pytest.raises(ModelError, match="comes with NNMamba"):
        delete_package(name)
    assert (bundled_folder() / name).is_dir()
    assert not is_deletable(bundled_folder() / name)


@pytest.mark.parametrize("name", ["unknown", "..", "../source", ""])
def test_only_models_of_the_users_folder_are_deleted(package, users_folder, name):
    install_package(package.path)
    with pytest.raises(ModelError, match="no installed model"):
        delete_package(name)
    assert package.path.is_dir()
    assert (users_folder / package.manifest.name).is_dir()


def test_commands_install_and_delete(package, tmp_path, users_folder, capsys):
    report = tmp_path / "report.json"
    assert cli.main(["models", "install", str(package.path), "--json", str(report)]) == 0
    assert json.loads(report.read_text(encoding="utf-8"))["sha256"] == package.sha256
    assert cli.main(["models", "install", str(package.path)]) == 1
    assert cli.main(["models", "install", str(package.path), "--overwrite"]) == 0
    assert package.manifest.name in installed_packages()
    assert cli.main(["models", "delete", package.manifest.name]) == 0
    assert package.manifest.name not in installed_packages()
    assert cli.main(["models", "delete", package.manifest.name]) == 1
    assert "no installed model" in capsys.readouterr().err
    assert user_folder() == users_folder
