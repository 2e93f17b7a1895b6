"""Write what of the documentation follows from the code; `--check` only compares.

python scripts/generate_docs.py [--check]
"""

from __future__ import annotations

import sys

import api_page
import architecture_figure
import documents_page
import settings_page

FILES = {
    api_page.PAGE: api_page.render,
    architecture_figure.FIGURE: architecture_figure.render,
    documents_page.PAGE: documents_page.render,
    settings_page.PAGE: settings_page.render,
}


def main() -> int:
    """Write all files, or name those that are not up to date."""
    is_check = sys.argv[1:] == ["--check"]
    stale = 0
    for path, render in FILES.items():
        text = render()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale += 1
            print(
                f"{path.name}: {'run python scripts/generate_docs.py' if is_check else 'written'}"
            )
        if not is_check:
            path.write_text(text, encoding="utf-8")
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
