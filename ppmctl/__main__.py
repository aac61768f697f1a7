"""`python -m ppmctl` is `ppmctl`."""

from ppmctl.cli import main

if __name__ == "__main__":
    main()
