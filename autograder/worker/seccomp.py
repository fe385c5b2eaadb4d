"""The system calls that a student's code may make. Everything not named here fails with EPERM.

The filter is built once with libseccomp, in the zygote, and kept as a BPF program; installing it in a worker is one prctl.
There is no `socket`, no `execve`, no way to make a process, to signal one or to look into one.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import tempfile

# What CPython, NumPy, PyTorch and matplotlib need to compute, to read their own files and to write in the work folder.
ALLOWED = """
    read write readv writev pread64 pwrite64 preadv pwritev close close_range lseek
    open openat creat access faccessat faccessat2 stat fstat lstat newfstatat statx fstatfs statfs readlink readlinkat getcwd
    getdents getdents64 dup dup2 dup3 pipe pipe2 fcntl flock ftruncate truncate fsync fdatasync fallocate fadvise64
    mkdir mkdirat rmdir rename renameat renameat2 unlink unlinkat umask chdir fchdir
    poll ppoll select pselect6
    mmap munmap mprotect mremap madvise brk mincore msync
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending sigaltstack
    futex futex_waitv sched_yield sched_getaffinity sched_getparam sched_getscheduler getcpu
    nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times
    getpid getppid gettid getuid geteuid getgid getegid getgroups getresuid getresgid getpgrp getpgid getsid
    getrlimit getrusage sysinfo uname getrandom capget
    set_tid_address set_robust_list get_robust_list rseq membarrier arch_prctl restart_syscall
    exit exit_group
""".split()

CLONE_THREAD = 0x00010000
TCGETS, FIONREAD, FIOCLEX = 0x5401, 0x541B, 0x5451
F_SETOWN, F_SETSIG, F_SETOWN_EX, F_NOTIFY = 8, 10, 15, 1026
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def program() -> bytes | None:
    """The filter as BPF, or None where libseccomp or the kernel does not offer it."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        return None
    refuse = pyseccomp.ERRNO(1)
    rules = pyseccomp.SyscallFilter(refuse)
    with contextlib.suppress(OSError, ValueError):
        rules.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)  # a search tree: the kernel tries every call at each installation

    def allow(name: str, *arguments: object) -> None:
        try:
            rules.add_rule(pyseccomp.ALLOW, name, *arguments)
        except (OSError, ValueError):
            pass  # a call that this architecture or this libseccomp does not know stays refused

    for name in ALLOWED:
        if name != "fcntl":
            allow(name)
    for command in (TCGETS, FIONREAD, FIOCLEX):
        allow("ioctl", pyseccomp.Arg(1, pyseccomp.EQ, command))
    for command in range(F_NOTIFY + 12):  # every fcntl but those that make the kernel send signals
        if command not in (F_SETOWN, F_SETSIG, F_SETOWN_EX, F_NOTIFY) and (command < 40 or command >= 1024):
            allow("fcntl", pyseccomp.Arg(1, pyseccomp.EQ, command))
    allow("clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, CLONE_THREAD, CLONE_THREAD))
    allow("prlimit64", pyseccomp.Arg(0, pyseccomp.EQ, 0), pyseccomp.Arg(2, pyseccomp.EQ, 0))
    # ENOSYS lets the C library fall back from clone3, whose flags a filter cannot see, to clone.
    try:
        rules.add_rule(pyseccomp.ERRNO(38), "clone3")
    except (OSError, ValueError):
        pass
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        bpf = file.read()
    _prepared(bpf)
    return bpf


def install(bpf: bytes) -> None:
    """Confine this process to the filter for good. OSError where the kernel refuses."""
    if _libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(_prepared(bpf)), 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


@functools.cache
def _prepared(bpf: bytes) -> _Program:
    """The filter as the kernel takes it. Made before the first fork, so that every child spares itself the memory it touches."""
    return _Program(len(bpf) // 8, bpf)
