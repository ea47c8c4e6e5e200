"""What was measured is put into the document, and nothing else of it changes."""

import pytest

from tests.kit.document import with_table

BEGIN, END = "<!-- measured: written by `make faults` -->", "<!-- end of measured -->"


def test_table_replaces_what_was_between_the_markers() -> None:
    text = f"# Reliability\n\n{BEGIN}\n\nold\n{END}\n\nmore\n"
    once = with_table(text, "| new |\n", "make faults")
    assert once == f"# Reliability\n\n{BEGIN}\n\n| new |\n\n{END}\n\nmore\n"
    assert with_table(once, "| new |\n", "make faults") == once


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{BEGIN}{BEGIN}{END}"])
def test_document_without_its_markers_is_refused(text: str) -> None:
    """Rather than losing half an hour of measurements in the wrong place."""
    with pytest.raises(ValueError, match="needs the lines"):
        with_table(text, "", "make faults")


def test_table_of_another_command_is_left_alone() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        with_table(f"{BEGIN}\n{END}", "", "make badinput")
