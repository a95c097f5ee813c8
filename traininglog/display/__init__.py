"""What people see while a program runs: a bar, lines that fit, times, a notebook's output.

It knows nothing of logs: the loop and the monitors show with it how far they are.
"""
