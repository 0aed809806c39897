"""`python -m expc`: the command line."""

from expc.cli import main

if __name__ == "__main__":
    main()
