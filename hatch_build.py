"""The README as a package index shows it: a relative link leads nowhere there.

Called by hatchling when the package is built. With a URL named `Source` in `[project.urls]`, a
relative link becomes one to the file there, and a picture is taken from there. Without one they
become plain text.
"""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# What may hold brackets of its own comes first, and stays as it is.
_CODE = r"^```.*?^```$|``[^\n]*?``|`[^`\n]*`"
_LINK = r"(?P<picture>!?)\[(?P<text>(?:`[^`\n]*`|[^\]\[`])*)\]\((?P<target>[^()\s]+)\)"
_EITHER = re.compile(f"{_LINK}|{_CODE}", re.MULTILINE | re.DOTALL)


def rewritten(text: str, source: str | None) -> str:
    """Return a page whose relative links lead to files of a repository, or are no links.

    Args:
        text: The page, in Markdown.
        source: The address of the repository, as GitHub, GitLab and Gitea have it; None: unknown.

    """

    def link(match: re.Match[str]) -> str:
        target = match["target"]
        if target is None or re.match(r"[a-z][a-z+.-]*:", target):
            return match[0]
        if source is None:
            return str(match["text"])
        # An anchor of the page itself is one there, too: an index makes none.
        path = f"README.md{target}" if target.startswith("#") else target
        kind = "raw" if match["picture"] else "blob"
        return f"{match['picture']}[{match['text']}]({source.rstrip('/')}/{kind}/HEAD/{path})"

    return _EITHER.sub(link, text)


class ReadmeHook(MetadataHookInterface):
    """Gives the built package its README."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict) -> None:
        """Fill in the field `readme`."""
        source = metadata.get("urls", {}).get("Source")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": rewritten(text, source)}
