"""Measures the real programs beside their peers: `python -m bench`. Nothing here is shipped."""
