"""Confinement of a process that uses a GPU.

The grader's ordinary workers allow few system calls, and none that opens a device or starts a program. A kernel needs both:
the driver talks through device files, and Triton runs an assembler and a C compiler. So the lists turn around: what is
known to do harm is refused, files are still only those named, and there is no network.
"""

from __future__ import annotations

import ctypes
import glob
import os
import resource
import tempfile
from collections.abc import Iterable

from autograder.worker import landlock, sandbox, seccomp

AF_UNIX = 1
# Looking into other processes, changing the system, and kernel interfaces that other programs have little use for.
REFUSED = """
    ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp mount umount2 move_mount open_tree fsopen fsmount pivot_root chroot
    setns unshare bpf perf_event_open keyctl add_key request_key userfaultfd io_uring_setup io_uring_enter io_uring_register
    init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct quotactl settimeofday
    clock_settime clock_adjtime adjtimex sethostname setdomainname
""".split()
READ_AND_RUN = landlock.READ | landlock.EXECUTE
DEVICE = landlock.READ_FILE | landlock.WRITE_FILE | landlock.IOCTL_DEV
# Python lies elsewhere, perhaps; programs (ptxas comes with Triton), headers and what the driver reads about the machine.
PROGRAMS = ("/usr", "/bin", "/lib", "/lib64", "/opt", "/etc/ld.so.cache", "/etc/alternatives")
MACHINE = ("/proc", "/sys")


def confine(scratch: str, private: Iterable[str]) -> list[str]:
    """Confine this process for good, before it runs anything of a submission; returns what is in force, in words.

    `scratch` is the one folder to write in. Nothing under `private` can be read. The layers that the system does not
    offer are named as missing.
    """
    private = [os.path.realpath(path) for path in private]
    in_force = [_limits()]
    sandbox._drop_capabilities()
    in_force.append("no capabilities")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(sandbox.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("no_new_privs was refused")
    in_force.append("no new privileges")
    in_force.append(_files(scratch, private) or "missing: Landlock")
    program = _program()
    if program:
        seccomp.install(program)
    in_force.append("seccomp: no network, no look into other processes" if program else "missing: seccomp")
    return in_force


def _limits() -> str:
    # No limit of the address space: the driver reserves far more of it than there is memory.
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 1 << 30, resource.RLIMIT_NOFILE: 1024, resource.RLIMIT_MSGQUEUE: 0}
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
    return "resource limits"


def _files(scratch: str, private: list[str]) -> str | None:
    readable = {path for root in PROGRAMS if os.path.exists(root) for path in sandbox._without(os.path.realpath(root), private)}
    readable |= set(sandbox.readable_paths(private))
    devices = ["/dev/null", "/dev/zero", "/dev/urandom", *glob.glob("/dev/nvidia*"), *glob.glob("/dev/dri/*")]
    rules = [(path, READ_AND_RUN) for path in sorted(readable)]
    rules += [(path, landlock.READ) for path in MACHINE]
    rules += [(path, DEVICE) for path in devices]
    rules.append((scratch, landlock.WRITE | landlock.EXECUTE | landlock.REFER))  # Triton renames from folder to folder
    try:
        return f"Landlock (ABI {_restrict(rules)})"
    except OSError:
        return None


def _restrict(rules: list[tuple[str, int]]) -> int:
    """As `landlock.restrict`, with rights of its own for each path; folders of devices keep their ioctls."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = landlock.abi()
    if not version:
        raise OSError("this kernel has no Landlock")
    handled = landlock.FIRST_ABI | (landlock.REFER if version >= 2 else 0) | (landlock.TRUNCATE if version >= 3 else 0)
    handled |= landlock.IOCTL_DEV if version >= 5 else 0
    attributes = landlock._Ruleset(
        handled,
        landlock.BIND_TCP | landlock.CONNECT_TCP if version >= 4 else 0,
        landlock.SCOPE_ABSTRACT_UNIX_SOCKET | landlock.SCOPE_SIGNAL if version >= 6 else 0,
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    null = ctypes.c_uint32(0)
    ruleset = landlock._checked(libc, landlock.CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), null)
    try:
        for path, access in rules:
            _allow(libc, ruleset, path, access & handled)
        landlock._checked(libc, landlock.RESTRICT_SELF, ctypes.c_int(ruleset), null)
    finally:
        os.close(ruleset)
    return version


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            access &= landlock.READ_FILE | landlock.WRITE_FILE | landlock.EXECUTE | landlock.TRUNCATE | landlock.IOCTL_DEV
        rule = landlock._PathBeneath(access, fd)
        null = ctypes.c_uint32(0)
        landlock._checked(libc, landlock.ADD_RULE, ctypes.c_int(ruleset), landlock.PATH_BENEATH, ctypes.byref(rule), null)
    finally:
        os.close(fd)


def _program() -> bytes | None:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        return None
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refuse = pyseccomp.ERRNO(1)
    for name in REFUSED:
        try:
            rules.add_rule(refuse, name)
        except (OSError, ValueError):
            pass  # a call that this architecture or this libseccomp does not know
    rules.add_rule(refuse, "socket", pyseccomp.Arg(0, pyseccomp.NE, AF_UNIX))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
