"""What ends a training in good order: signals, and what several ranks agree upon."""
