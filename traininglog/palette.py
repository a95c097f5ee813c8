"""The colours of pictures."""

#: Distinct with any kind of colour vision, and in this order in grey as well (after Okabe, Ito).
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#4D4D4D",
)  # fmt: skip

#: The colours of text, of axes, of grid lines.
INK, FAINT, GRID = "#333333", "#8A8A8A", "#E6E6E6"
