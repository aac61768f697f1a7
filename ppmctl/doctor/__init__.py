"""The checks of `ppmctl doctor`: can this user install from an index and publish to it?"""
