"""`python -m pipeline.settings.docs`: the tables of docs/configuration.md, from the keys."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from protocol.console import as_command

from .keys import DAG, LOCAL_SERVICE_CONF, OP, TOP, Key, Section

TITLES: tuple[tuple[str, Section], ...] = (
    ("The service", TOP),
    ("`dag`", DAG),
    ("`op.<service>`", OP),
    ("`op.<service>.local_service_conf`", LOCAL_SERVICE_CONF),
)


def tables() -> str:
    """Return one Markdown table a section, then the keys of 0.9 that have no effect."""
    blocks = []
    for title, section in TITLES:
        rows = [_row(name, key) for name, key in _keys(section) if key.no_effect is None]
        if rows:
            head = f"### {title}\n\n| key | default | meaning |\n|---|---|---|\n"
            blocks.append(head + "\n".join(rows))
    ignored = [
        f"| `{name}` | {title} | {key.no_effect} |"
        for title, section in TITLES
        for name, key in _keys(section)
        if key.no_effect is not None
    ]
    head = "### Accepted without effect\n\n| key | where | why |\n|---|---|---|\n"
    text = "\n\n".join([*blocks, head + "\n".join(ignored)]) + "\n"
    # At a terminal a guide is named by its path; beside it, it is a link.
    return re.sub(r"docs/([\w-]+\.md)", r"[\1](\1)", text)


def _keys(section: Section, prefix: str = "") -> Iterator[tuple[str, Key]]:
    """Yield the section's own keys; sub-sections with a table of their own are left out."""
    own_table = [known for _, known in TITLES]
    for name, known in section.items():
        if isinstance(known, Key):
            yield prefix + name, known
        elif name != "*" and not any(known is table for table in own_table):
            yield from _keys(known, f"{prefix}{name}.")


def _row(name: str, key: Key) -> str:
    default = "" if key.default in (None, "") else f"`{key.default}`"
    mark = " (ours)" if key.ours else ""
    return f"| `{name}`{mark} | {default} | {key.meaning} |"


if __name__ == "__main__":
    sys.exit(as_command(lambda: print(tables(), end="")))
