"""A built package has its licence, and a README whose links lead somewhere."""

import os
import re
import sys
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(([^()\s]+)\)")
SOURCE = "https://forge.example/team/traininglog"


@pytest.fixture(scope="module")
def rewritten():
    sys.path.insert(0, os.fspath(ROOT))
    try:
        from hatch_build import rewritten
    finally:
        sys.path.remove(os.fspath(ROOT))
    return rewritten


@pytest.mark.parametrize(
    ("page", "plain", "linked"),
    [
        ("[guide](docs/index.md)", "guide", f"[guide]({SOURCE}/blob/HEAD/docs/index.md)"),
        ("![a curve](p/c.png)", "a curve", f"![a curve]({SOURCE}/raw/HEAD/p/c.png)"),
        ("[see](#tour)", "see", f"[see]({SOURCE}/blob/HEAD/README.md#tour)"),
        ("[`log`](a.md) and", "`log` and", f"[`log`]({SOURCE}/blob/HEAD/a.md) and"),
    ],
)
def test_a_relative_link_becomes_one_to_the_repository_or_plain_text(
    rewritten, page, plain, linked
):
    assert rewritten(page, None) == plain
    assert rewritten(page, SOURCE) == linked
    assert rewritten(page, f"{SOURCE}/") == linked


@pytest.mark.parametrize(
    "page",
    [
        "[SQLite](https://sqlite.example/x)",
        "[mail](mailto:somebody@example.org)",
        "`log[5](x)`",
        "``[a](b) ` c``",
        "```python\nstores[0](path)\n```",
    ],
)
def test_code_and_links_that_lead_away_stay_as_they_are(rewritten, page):
    assert rewritten(page, None) == rewritten(page, SOURCE) == page


@pytest.fixture
def metadata():
    """Give what hatchling makes of the project, with URLs of choice."""

    def made(urls):
        found = ProjectMetadata(os.fspath(ROOT), PluginManager())
        found.config["project"]["urls"] = urls
        return found.core

    return made


def test_without_a_url_the_built_readme_has_no_relative_link(metadata):
    core = metadata({})
    assert core.readme_content_type == "text/markdown"
    assert core.readme.startswith("# traininglog\n")
    assert not [target for target in LINK.findall(core.readme) if "://" not in target]


def test_with_a_url_each_link_of_the_built_readme_is_one_of_a_file_there(metadata):
    readme = metadata({"Source": SOURCE}).readme
    targets = [target.removeprefix(SOURCE) for target in LINK.findall(readme)]
    assert targets
    for target in targets:
        found = re.fullmatch(r"/(?:blob|raw)/HEAD/([^#]+)(#.*)?", target)
        assert found, target
        assert (ROOT / found[1]).exists(), target


def test_the_licence_is_there_and_is_the_one_that_is_named(metadata):
    core = metadata({})
    assert core.license_expression == "MIT"
    assert core.license_files == ["LICENSE"]
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License\n")
