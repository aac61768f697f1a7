#!/usr/bin/env python3
"""Run Debian's Chromium so that it does not notice changes of the machine's networks; the arguments are Chromium's.

It aborts its requests (ERR_NETWORK_CHANGED) when a network interface comes or goes, as those of other tests'
containers do. It learns of that by a netlink socket, which it may not open here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
import sys

_SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]  # the number of the system call
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # prctl(2)
_LOAD, _IS_EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
_CALL, _FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data
_FAIL, _ALLOW = 0x00050000, 0x7FFF0000
_PROGRAM = (
    (_LOAD, 0, 0, _CALL),
    (_IS_EQUAL, 0, 3, _SOCKET),
    (_LOAD, 0, 0, _FIRST_ARGUMENT),
    (_IS_EQUAL, 0, 1, socket.AF_NETLINK),
    (_RETURN, 0, 0, _FAIL | errno.EAFNOSUPPORT),
    (_RETURN, 0, 0, _ALLOW),
)


def main() -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _PROGRAM))
    program = struct.pack("HP", len(_PROGRAM), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((_NO_NEW_PRIVILEGES, 1, 0, 0, 0), (_SECCOMP, _FILTER, program, 0, 0)):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    os.execvp("chromium-headless-shell", ["chromium-headless-shell", *sys.argv[1:]])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
