"""Displays of progress: a bar, lines that fit, times, a notebook's output.

The package does not depend on logs. The loop and the monitors show their progress with it.
"""
