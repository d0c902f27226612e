"""The console that reports are printed on: text of a stranger's model is literal there.

Names and labels may hold escape sequences, which set a terminal's title or hide lines, marks that
turn the direction of text, and rich's own markup.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from protocol.escaping import escaped, escaped_line

LONGEST = 2000  # characters of one text of a report, and of an error


class _Literal:
    """What a renderable gives, with escapes for what a terminal would act on."""

    def __init__(self, renderable: ConsoleRenderable) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self._renderable, options):
            yield Segment(text if control else escaped(text), style, control)


class _Literally(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Literal(renderable) for renderable in renderables]


def terminal() -> Console:
    """A console on stdout that takes no markup and lets no control character through."""
    console = Console(markup=False, emoji=False)
    console.push_render_hook(_Literally())
    return console


def shortened(text: str) -> str:
    """The text, cut where it is longer than people read."""
    return text if len(text) <= LONGEST else text[:LONGEST] + " ..."


def in_lines(value: Any) -> Any:  # noqa: ANN401 - JSON
    """The same JSON value, each text of it in one line of a bounded length, as rows have them."""
    if isinstance(value, str):
        return shortened(escaped_line(value))
    if isinstance(value, dict):
        return {in_lines(key): in_lines(entry) for key, entry in value.items()}
    return [in_lines(entry) for entry in value] if isinstance(value, (list, tuple)) else value
