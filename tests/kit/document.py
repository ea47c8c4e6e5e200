"""Puts what a command measured into a document, between the two lines that say which command it was."""

__all__ = ["with_table"]

_END = "<!-- end of measured -->"


def with_table(text: str, table: str, command: str) -> str:
    """The document with the table between its markers. ValueError: they are not there, each once."""
    begin = f"<!-- measured: written by `{command}` -->"
    if text.count(begin) != 1 or text.count(_END) != 1:
        raise ValueError(f"the document needs the lines {begin} and {_END}")
    before, rest = text.split(begin)
    _, after = rest.split(_END)
    return f"{before}{begin}\n\n{table}\n{_END}{after}"
