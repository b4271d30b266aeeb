"""Check the links of the built site without a network: ``python docs/check_links.py docs/_build/html``.

Every link to a file of the site must find it, and the anchor in it; every image must be there. An address elsewhere
must be https. ``python -m sphinx -b linkcheck docs docs/_build/linkcheck`` asks these addresses, with a network.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit


class Page(HTMLParser):
    """The anchors and the links of a page."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name"):
                self.anchors.add(value)
            elif name in ("href", "src") and value is not None:
                self.links.append((tag, value))


def broken(root):
    """Yield a line for each link that leads nowhere."""
    pages = {path: Page(path) for path in sorted(root.rglob("*.html")) if "_static" not in path.parts}
    for path, page in pages.items():
        for tag, link in page.links:
            address, anchor = urldefrag(link)
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if tag == "a" and parts.scheme not in ("https", "mailto"):
                    yield f"{path.relative_to(root)}: {link} is not https"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{path.relative_to(root)}: {link} is not there"
            elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
                yield f"{path.relative_to(root)}: {link} has no such anchor"


def main(root):
    """Print the broken links of a site; the exit status is 1 if there is one."""
    lines = sorted(set(broken(root)))
    print(*lines, f"{len(lines)} broken links in {root}", sep="\n")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
