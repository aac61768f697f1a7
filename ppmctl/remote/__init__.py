"""Run the same command on another machine or in a container: `--on`."""
