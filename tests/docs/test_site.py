"""The documentation as a site: built strictly and complete; links lead somewhere; nothing comes from other hosts."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("mkdocs", reason='mkdocs is not installed (pip install -e ".[docs]")')


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    """The pages as `make docs` builds them; a warning ends the build."""
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


class _Page(HTMLParser):
    """Links, anchors and loaded files of a page, and its formulas."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.loaded, self.formulas = [], set(), [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {value for key, value in attributes if key in ("id", "name") and value}
        self.formulas += tag == "math"
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag in ("script", "img", "link", "source", "iframe"):
            self.loaded += [found[key] for key in ("src", "href") if found.get(key)]


@pytest.fixture(scope="module")
def pages(site):
    return {path: _Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_and_figure_is_in_the_site(root, site):
    for path in (root / "docs").rglob("*"):
        if path.suffix in (".svg", ".png"):
            assert (site / path.relative_to(root / "docs")).exists(), path
        if path.suffix == ".md":
            assert (site / path.relative_to(root / "docs")).with_suffix(".html").exists(), path


def test_internal_links_and_anchors_lead_somewhere(site, pages):
    seen = 0
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for link in page.links:
            if re.match(r"(https?|mailto):", link):
                continue
            target, _, anchor = unquote(link).partition("#")
            place = path if not target else (path.parent / target).resolve()
            place = place / "index.html" if place.is_dir() else place
            assert place.exists(), f"{path.relative_to(site)}: {link}"
            if anchor and place.suffix == ".html":
                assert anchor in pages[place].anchors, f"{path.relative_to(site)}: {link}"
            seen += 1
    assert seen > 500


def test_nothing_is_loaded_from_other_hosts(site, pages):
    for path, page in pages.items():
        assert not [file for file in page.loaded if re.match(r"(https?:)?//", file)], path
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:|@import ['\"]?https?:", sheet.read_text(encoding="utf-8")), sheet


def test_formulas_are_mathml(site, pages):
    assert pages[site / "method.html"].formulas > 20
    for path in pages:
        assert "arithmatex" not in path.read_text(encoding="utf-8"), path


def test_every_command_has_a_section_with_its_options(site, pages):
    text = (site / "commands.html").read_text(encoding="utf-8")
    for command, option in (("sample", "--shard"), ("train", "--save-every"), ("submit", "--dry-run")):
        section = text.partition(f'id="tpsctl-{command}"')[2].partition("<h2")[0]
        assert option in section, command


def test_the_reference_of_commands_reads_help_that_is_wrapped(root):
    spec = importlib.util.spec_from_file_location("site_hooks", root / "docs" / "site_hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    html = hooks.on_page_content('<p>a <span class="arithmatex">\\(x &lt; 1\\)</span></p>')
    assert html.startswith('<p>a <math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">')
    assert "&#x0003C;" in html
    assert "Time between snapshots" in hooks.on_page_markdown(hooks.COMMANDS)
    assert hooks.on_page_markdown("nothing to do") == "nothing to do"


def test_included_files_are_there(site):
    assert "TruncatedAction(prior.at(" in re.sub(
        r"<[^>]+>", "", (site / "api" / "index.html").read_text(encoding="utf-8")
    )
    assert "rule gather" in re.sub(r"<[^>]+>", "", (site / "schedulers.html").read_text(encoding="utf-8"))


def test_figures_are_small(root):
    for figure in Path(root, "docs", "figures").iterdir():
        assert figure.stat().st_size < 200_000, figure
