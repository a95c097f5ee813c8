"""Pictures for a paper: curves, means of groups with bands, scatter, bars, parallel coordinates.

This room knows numbers and names, and no store: logs and stores hand them in. Figures are made
without pyplot, so they have no window and change no global state.
"""

from traininglog.errors import MissingExtra


def require_matplotlib() -> None:
    """Raise `MissingExtra` unless Matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401 - only to see whether it is there
    except ImportError as error:
        raise MissingExtra(
            'a picture needs matplotlib; install it with: pip install "traininglog[plot]"'
        ) from error
