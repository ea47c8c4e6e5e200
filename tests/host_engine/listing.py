"""What lies in a folder."""

from pathlib import Path

__all__ = ["names_in"]


def names_in(folder: Path) -> list[str]:
    """The names of everything there, hidden files too, sorted."""
    return sorted(path.name for path in folder.iterdir())
