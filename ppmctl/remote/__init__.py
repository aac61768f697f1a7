"""The same command on another machine or in a container: `--on`."""
