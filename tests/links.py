"""The links of a Markdown file, and whether they lead somewhere."""

import re
from pathlib import Path

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SOURCES = ("https://arxiv.org/abs/", "https://www.rfc-editor.org/rfc/")  # what cards quote


def anchors(text: str) -> set[str]:
    """What headings can be linked to as, on the Hub and on GitHub."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


def dead_links(card: Path, known: set[str]) -> set[str]:
    """Links to files that aren't there, to headings that aren't there, and to addresses other than the known ones."""
    text = card.read_text()
    links = {link for link in LINK.findall(text) if not link.startswith(SOURCES)}
    there = {link for link in links if not link.startswith(("http", "#")) and (card.parent / link).is_file()}
    return links - there - {f"#{anchor}" for anchor in anchors(text)} - known
