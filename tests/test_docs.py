"""What the documentation says exists, and what exists is documented."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tpsctl.cli import app as cli

ROOT = Path(__file__).parents[1]
COMMANDS = [command.name or command.callback.__name__ for command in cli.app.registered_commands]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command):
    assert f"`tpsctl {command}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_options_on_a_page_exist(page):
    for command, rest in re.findall(r"(?:^\$ |`)tpsctl ([a-z]+)([^`\n]*)", page.read_text(), flags=re.MULTILINE):
        assert command in COMMANDS, f"{page}: tpsctl {command}"
        text = CliRunner().invoke(cli.app, [command, "--help"]).output
        for option in re.findall(r"--[a-z]+", rest):
            assert option in text, f"{page}: tpsctl {command} {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_recipes_on_a_page_exist(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), f"{page}: {target}"
    for recipe in re.findall(r"recipes/[\w/]+\.yaml", text):
        assert (ROOT / recipe).exists(), f"{page}: {recipe}"


def test_make_targets_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
