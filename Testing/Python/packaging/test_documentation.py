"""The documentation's links lead somewhere, and the files and names that it tells of exist."""

import ast
import re
from pathlib import Path

import pytest

from NNMambaLib import cli

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "Documentation").glob("*.md"), *(ROOT / "Testing").glob("*/README.md")],
)
# The changelog names what is gone.
TELLING = [path for path in PAGES if path.name in ("architecture.md", "CONTRIBUTING.md", "SECURITY.md")]


def references(page):
    """Return (path, name or None) of each `path`, `path/` and `path.py: name` on a page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    pattern = r"`([\w./-]+/|[\w./-]*\.(?:py|md|json|toml|ui|txt|yml|yaml))(?:: ([\w.]+))?`"
    return [(path, name or None) for path, name in re.findall(pattern, text)]


def resolve(path):
    """Return where a path that a page names lies, or None."""
    places = (ROOT / "NNMamba" / "NNMambaLib", ROOT)
    return next((folder / path for folder in places if (folder / path).exists()), None)


def names_in(path):
    """Return the classes, functions, methods and constants of a file, methods as Class.method."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{child.name}" for child in node.body if isinstance(child, ast.FunctionDef)}
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("page", TELLING, ids=lambda page: page.name)
def test_files_and_names_exist(page):
    found = references(page)
    # These are files of a package.
    given = {"model.json", "card.md"}
    missing = [
        f"{path}: {name}" if name else path
        for path, name in found
        if path not in given and (resolve(path) is None or (name is not None and name not in names_in(resolve(path))))
    ]
    assert len(found) > 5
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", text)
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_a_page_lead_to_its_headings(page):
    text = page.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.M)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= {line.replace(" ", "-") for line in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_python_exist(page):
    text = page.read_text(encoding="utf-8")
    modules = re.findall(r"python -m (NNMamba[\w.]+)", text)
    scripts = re.findall(r"python ((?:Documentation|Testing)/[\w/]+\.py)", text)
    paths = [f"NNMamba/{module.replace('.', '/')}.py" for module in modules] + scripts
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_nnmamba_exist(page, capsys):
    text = page.read_text(encoding="utf-8")
    code = "\n".join([*re.findall(r"```sh\n(.*?)```", text, re.DOTALL), *re.findall(r"`([^`\n]+)`", text)])
    named = set(re.findall(r"(?:^|&& )nnmamba ([a-z-]+)", code, re.MULTILINE))
    # The README says that there is no such command yet.
    named.discard("batch")
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    known = re.search(r"\{([\w,-]+)\}", capsys.readouterr().out)[1].split(",")
    assert named <= set(known)
