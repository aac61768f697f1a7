"""Run `ppmctl` as `python -m ppmctl`."""

from ppmctl.cli.commands import main

if __name__ == "__main__":
    main()
