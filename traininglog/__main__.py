"""`python -m traininglog`: the command line."""

from traininglog.cli import main

if __name__ == "__main__":
    main()
