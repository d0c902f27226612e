"""What a process may do that reads a stranger's graph: compute for a while, within some memory.

Limits of the system bound memory, time and files. A filter of system calls (seccomp) refuses the
rest: network, other programs and processes, and whatever changes a file. It needs no rights and a
64-bit Linux on x86 or ARM; elsewhere the limits hold without it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import NamedTuple

_PDEATHSIG, _NO_NEW_PRIVS, _SECCOMP, _FILTER = 1, 38, 22, 2
_OPEN_FILES = 64

# Instructions of the filter (linux/filter.h, linux/seccomp.h).
_LOAD, _EQUAL, _ANY_BIT, _AND_ABOVE, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_EPERM, _ENOSYS = 1, 38
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CLONE_THREAD = 0x10000
_SETOWN, _SETOWN_EX = 8, 15  # of fcntl: whom a signal is sent to


class _Calls(NamedTuple):
    """Numbers of system calls: `opens` with the place of their flags, and those that are refused.

    Refused are, in this order: sockets; programs; other processes, their signals, limits, priority
    and memory; shared memory and messages between processes; names, contents, owners, rights and
    attributes of files; devices (ioctl, which also types into terminals); mounts, namespaces, keys,
    modules, clocks; ways around this filter.
    """

    architecture: int
    opens: tuple[tuple[int, int], ...]
    clone: int
    tgkill: int
    fcntl: int
    refused: tuple[int, ...]


# Numbers that all architectures share: pidfds, io_uring, mounts, quotas, fchmodat2, attributes.
_SHARED = (*range(424, 435), 438, 442, 443, 452, 463, 466, 467, 469)
_CLONE3, _OPENAT2 = 435, 437  # missing: C libraries then take clone and openat
_CALLS = {
    "x86_64": _Calls(
        0xC000003E,
        ((2, 1), (257, 2)),
        56,
        234,
        72,
        (
            *range(41, 51), 53, 288,
            59, 322,
            57, 58, 62, 101, 129, 141, 142, 144, 160, 200, 203, 251, 256, 279, 297, 302, 310, 311,
            314,
            29, 30, 31, *range(64, 72), 220, *range(240, 246),
            76, 77, *range(82, 89), *range(90, 95), 132, 133, 188, 189, 190, 197, 198, 199, 235,
            *range(258, 262), *range(263, 267), 268, 280, 285, 316, 326,
            16,
            103, 153, 155, 159, *range(161, 177), 179, 227, 246, 248, 249, 250, 272, 300, 301, 305,
            308, 313, 320,
            298, 304, 319, 321, 323,
        ),
    ),
    "aarch64": _Calls(
        0xC00000B7,
        ((56, 2),),
        220,
        131,
        25,
        (
            *range(198, 204), 206, 211, 242,
            221, 281,
            30, 117, 118, 119, 122, 129, 130, 138, 140, 164, 238, 239, 240, 261, 270, 271, 274,
            *range(180, 198),
            5, 6, 7, 14, 15, 16, *range(33, 39), 45, 46, 47, *range(52, 56), 88, 276, 285,
            29,
            39, 40, 41, 51, 58, 60, 89, 97, 104, 105, 106, 112, 116, 142, 161, 162, 170, 171, 217,
            218, 219, 224, 225, 262, 263, 266, 268, 273, 294,
            241, 265, 279, 280, 282,
        ),
    ),
}  # fmt: skip


class Limits(NamedTuple):
    """What reading may take.

    Attributes:
        memory: in bytes, beside what the process has.
        seconds: of computing.
        scarce: whether the memory is what is free, which is less than the file may take.
    """

    memory: int
    seconds: int
    scarce: bool = False


def confine(limits: Limits) -> int:
    """Give up all rights but those to read files, to compute, and to write into open pipes.

    What is needed must have been imported before. Exceeding the memory is a MemoryError, or an
    abort of native code; exceeding the time ends the process with SIGXCPU.

    Returns:
        The memory that it may take in bytes; `ulimit -v` may have left less than `limits` has.
    """
    before = mapped_bytes()
    memory = _lower(resource.RLIMIT_AS, before + limits.memory) - before
    for kind, bound in (
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _lower(kind, bound)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            _refuse_calls(libc)
    return memory


def mapped_bytes() -> int:
    """The address space of this process, in bytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return 1 << 30
    return pages * resource.getpagesize()


def is_filtered() -> bool:
    """Whether this machine has the filter of system calls."""
    return sys.platform == "linux" and platform.machine() in _CALLS and sys.maxsize > 2**32


def _lower(kind: int, bound: int) -> int:
    hard = resource.getrlimit(kind)[1]
    bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
    # SIGXCPU comes at the first bound of computing time, SIGKILL at the second
    grace = 1 if kind == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else 0
    resource.setrlimit(kind, (bound, bound + grace))
    return bound


def _refuse_calls(libc: ctypes.CDLL) -> None:
    if not is_filtered():
        return
    program = _program(_CALLS[platform.machine()])
    instructions = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and where they are
    head = ctypes.create_string_buffer(
        struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    )
    libc.prctl(_SECCOMP, _FILTER, ctypes.byref(head), 0, 0)


def _program(calls: _Calls) -> bytes:
    """The filter; every refusal is an error of the call, so that libraries report it as one."""
    steps = [
        *_step(_LOAD, _ARCHITECTURE),
        *_step(_EQUAL, calls.architecture, skip_true=1),
        *_step(_RETURN, _KILL),
        *_step(_LOAD, _NUMBER),
    ]
    if calls.architecture == _CALLS["x86_64"].architecture:
        # the same calls once more for 32-bit pointers
        steps += [*_step(_AND_ABOVE, 0x40000000, skip_false=1), *_step(_RETURN, _REFUSE | _ENOSYS)]
    for number in (_CLONE3, _OPENAT2):
        steps += [*_step(_EQUAL, number, skip_false=1), *_step(_RETURN, _REFUSE | _ENOSYS)]
    for number in (*calls.refused, *_SHARED):
        steps += [*_step(_EQUAL, number, skip_false=1), *_step(_RETURN, _REFUSE | _EPERM)]
    for number, place in calls.opens:
        steps += _unless(number, place, _ANY_BIT, _WRITES, refuse_if=True)
    steps += _unless(calls.clone, 0, _ANY_BIT, _CLONE_THREAD, refuse_if=False)
    steps += _unless(calls.tgkill, 0, _EQUAL, os.getpid(), refuse_if=False)
    for command in (_SETOWN, _SETOWN_EX):
        steps += _unless(calls.fcntl, 1, _EQUAL, command, refuse_if=True)
    steps += _step(_RETURN, _ALLOW)
    return b"".join(steps)


def _unless(number: int, place: int, test: int, value: int, *, refuse_if: bool) -> list[bytes]:
    """Refuse a call by one of its arguments; the number is loaded before and after."""
    true, false = (0, 1) if refuse_if else (1, 0)
    return [
        *_step(_EQUAL, number, skip_false=4),
        *_step(_LOAD, _ARGUMENTS + 8 * place),
        *_step(test, value, skip_true=true, skip_false=false),
        *_step(_RETURN, _REFUSE | _EPERM),
        *_step(_LOAD, _NUMBER),
    ]


def _step(code: int, value: int, *, skip_true: int = 0, skip_false: int = 0) -> list[bytes]:
    return [struct.pack("<HBBI", code, skip_true, skip_false, value)]
