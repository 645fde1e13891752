"""What the documentation says exists, and what exists is documented."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlflow_oci_store import __version__
from mlflow_oci_store.cli.main import main
from mlflow_oci_store.client.profile import OVERRIDES
from mlflow_oci_store.settings import AUTH_KINDS, DEFAULTS, OCI_VARIABLES
from mlflow_oci_store.uri import OPTIONS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8"))
    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("option", OPTIONS)
def test_the_table_of_options_has_a_row_for_each(option: str) -> None:
    (row,) = [line for line in read("README.md").splitlines() if line.startswith(f"| `{option}` |")]
    assert f"`MLFLOW_OCI_DP_{option.upper()}`" in row
    for variable in OCI_VARIABLES.get(option, ()):
        assert f"`{variable}`" in row
    if option in DEFAULTS:
        assert f"`{DEFAULTS[option]}`" in row


def test_the_configuration_page_names_every_kind_of_principal_and_every_override() -> None:
    page = read("docs/configuration.md")
    assert not [kind for kind in AUTH_KINDS if f"`{kind}`" not in page]
    assert not [variable for variable in OVERRIDES if f"`{variable}`" not in page]


def test_the_emulator_page_names_every_option_of_its_command() -> None:
    shown = CliRunner().invoke(main, ["emulator", "--help"]).output
    page = read("docs/emulator.md")
    options = set(re.findall(r"^\s+(--[a-z-]+)", shown, re.MULTILINE)) - {"--help"}
    assert options
    assert not [option for option in options if f"`{option}" not in page]


def test_the_changelog_has_this_version() -> None:
    assert f"\n## {__version__}" in read("CHANGELOG.md")


def test_the_makefile_has_the_commands_that_the_readme_names() -> None:
    named = set(re.findall(r"`make (\w+)`", read("README.md") + read("CONTRIBUTING.md")))
    targets = set(re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE))
    assert named
    assert named <= targets
