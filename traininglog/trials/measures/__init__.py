"""Measurements of a trial: metrics, aggregates, durations, and the remaining time."""
