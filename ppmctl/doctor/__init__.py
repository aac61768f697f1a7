"""What stands between a client and an index: the checks of `ppmctl doctor`."""
