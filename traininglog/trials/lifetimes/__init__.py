"""Lifetimes of trials: their end, whatever causes it, and the process that runs a trial."""
