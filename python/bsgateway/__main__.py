"""`python -m bsgateway`: the same as the command `bsgateway`."""

from .cli import main

if __name__ == "__main__":
    main()
