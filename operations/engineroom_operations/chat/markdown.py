"""Markdown on a terminal: in the terminal's own colours, so that it reads on light and dark ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.syntax import ANSI_DARK, ANSISyntaxTheme, Syntax
from rich.text import Text
from rich.theme import Theme

from ..terminal_text import printable

THEME = Theme(
    {
        "markdown.code": Style(bold=True),
        "markdown.block_quote": Style(italic=True),
        "markdown.item.bullet": Style(bold=True),
        "markdown.item.number": Style(bold=True),
        "markdown.list": Style(),
        "markdown.table.header": Style(bold=True),
        "markdown.table.border": Style(dim=True),
        "markdown.hr": Style(dim=True),
        "markdown.link": Style(underline=True),
        "markdown.link_url": Style(underline=True),
        "markdown.h1": Style(bold=True, underline=True),
        "markdown.h2": Style(bold=True, underline=True),
        "markdown.h3": Style(bold=True),
        "markdown.h4": Style(bold=True),
        "markdown.h5": Style(bold=True),
        "markdown.h6": Style(bold=True),
    }
)


_CODE_STYLES = {
    "Comment": Style(dim=True, italic=True),
    "Keyword": Style(bold=True),
    "Operator.Word": Style(bold=True),
    "Literal.String": Style(color="green"),
    "Literal.Number": Style(color="magenta"),
    "Generic.Deleted": Style(color="red"),
    "Generic.Inserted": Style(color="green"),
    "Generic.Heading": Style(bold=True),
}
"""By the kinds of tokens that Pygments has. Only colours that can be read on black and on white."""


def _code_style(token: str) -> Style:
    kind = token.removeprefix("Token.")
    matches = [style for name, style in _CODE_STYLES.items() if f"{kind}.".startswith(f"{name}.")]
    return matches[0] if matches else Style()


CODE_THEME = ANSISyntaxTheme({token: _code_style(str(token)) for token in ANSI_DARK})


class _PlainHeading(Heading):
    """A heading at the left, where one reads, without a box."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _PlainCode(CodeBlock):
    """Code without a background of its own, and so that its lines can be copied as they are."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        syntax = Syntax(code, self.lexer_name, theme=CODE_THEME, word_wrap=True, background_color="default")
        yield Padding(syntax, (0, 0, 0, 2))


class PlainMarkdown(Markdown):
    """Rich's, but HTML is text, since a model that writes `<div>` means to show it."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _PlainHeading,
        "fence": _PlainCode,
        "code_block": _PlainCode,
    }

    def __init__(self, markup: str) -> None:
        super().__init__(markup, hyperlinks=False)
        self.parsed = parser().parse(markup)


def parser() -> MarkdownIt:
    """What both the drawing and the splitting into blocks go by."""
    return MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")


class DrawnBlock:
    """One block as it is drawn, without empty lines around it and white space at the ends of lines: people copy it.

    Args:
        height: how many lines at its end are drawn; all of them by default.
    """

    def __init__(self, content: RenderableType, height: int | None = None) -> None:
        self._content = content
        self._height = height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._content, options.update(height=None), pad=False)
        lines = [_without_end(line) for line in lines]
        while lines and not lines[0]:
            lines.pop(0)
        while lines and not lines[-1]:
            lines.pop()
        for line in lines[-self._height :] if self._height else lines:
            yield from line
            yield Segment.line()


def _without_end(line: list[Segment]) -> list[Segment]:
    """A line without white space at its end."""
    line = list(line)
    while line and not line[-1].text.rstrip():
        line.pop()
    if line:
        line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
    return line


class BlockSplitter:
    """The text of an answer as it grows, cut into blocks of Markdown that no later text can change."""

    _CERTAIN = 8
    """Characters of a block's first line after which it is no longer in doubt whether it goes on with the last."""

    def __init__(self) -> None:
        self._parser = parser()
        self.pending = ""

    def feed(self, text: str) -> list[str]:
        """The blocks that are whole now; `pending` is what is not."""
        self.pending += printable(text)
        if "\n" not in self.pending:
            return []
        starts = self._block_starts()
        if len(starts) < 2:
            return []
        *whole, rest = self.pending.split("\n")
        lines = [*(f"{line}\n" for line in whole), rest]
        last = "".join(lines[starts[-1] :])
        if "\n" not in last and len(last) < self._CERTAIN:
            return []
        self.pending = last
        blocks = ["".join(lines[start:end]) for start, end in pairwise(starts)]
        return [block for block in blocks if block.strip()]

    def finish(self) -> list[str]:
        """The last block, if there is one."""
        last = self.pending
        self.pending = ""
        return [last] if last.strip() else []

    def _block_starts(self) -> list[int]:
        tokens: list[Any] = self._parser.parse(self.pending)
        starts = [token.map[0] for token in tokens if token.level == 0 and token.map and token.nesting >= 0]
        # What stands before the first block, as the definition of a link does, belongs to it.
        return [0, *starts[1:]] if starts else []


def reasoning_text(text: str) -> Text:
    """Reasoning, which is no Markdown to look at."""
    return Text(printable(text).strip("\n"), style="dim italic")
