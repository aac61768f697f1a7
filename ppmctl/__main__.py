"""`python -m ppmctl` is `ppmctl`."""

from ppmctl.cli.commands import main

if __name__ == "__main__":
    main()
