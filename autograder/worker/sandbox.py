"""Confinement of a worker, in order: namespaces, limits, privileges, files.

The system-call filter comes last, in each test's own child.

Every step says what it did in one phrase for the report. A step that the system does not offer is skipped and its phrase says so;
only `require` in the grader decides whether that is acceptable.
"""

from __future__ import annotations

import ctypes
import os
import resource
import site
import stat
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from autograder.worker import landlock

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
NAMESPACES = {"network": CLONE_NEWNET, "mount": CLONE_NEWNS, "pid": CLONE_NEWPID, "ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS}
MS_REC_PRIVATE = 0x4000 | 0x40000
MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_DUMPABLE, PR_SET_SECUREBITS = 1, 24, 38, 4, 28
PR_SET_THP_DISABLE, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 41, 47, 4
SECUREBITS_LOCKED = 0b11101111  # NOROOT, NO_SETUID_FIXUP, KEEP_CAPS off, NO_CAP_AMBIENT_RAISE; all locked
CAPABILITY_VERSION_3 = 0x20080522
FIRST_UID = 60000  # a slot's own user: nothing on the system belongs to it
WORK_BYTES = 64 << 20
PROCESSES = 1000  # threads included, at once in a worker; a kernel that has once come past 300 uses the numbers below no more
PACKAGES = ("torch", "numpy", "matplotlib")  # installed where Python does not look first, perhaps: a folder named in a .pth file

_libc = ctypes.CDLL(None, use_errno=True)


def fork_into_pid_namespace() -> tuple[int, bool]:
    """`os.fork()`, and whether the child is the first process of a fresh pid namespace: root's is, where the system permits."""
    if os.geteuid() != 0:
        return os.fork(), False
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    first = _libc.unshare(CLONE_NEWPID) == 0
    child = os.fork()
    if child and first and _libc.setns(own, CLONE_NEWPID):
        raise OSError(ctypes.get_errno(), "this process's own pid namespace could not be had back")
    os.close(own)
    return child, first


def isolate(first: bool = False) -> list[str]:
    """Enter fresh namespaces, as far as the system permits; returns their names.

    The next fork is the first in the pid namespace, unless this process is (`first`).
    """
    if os.geteuid() != 0:
        uid, gid = os.getuid(), os.getgid()
        if _libc.unshare(CLONE_NEWUSER):
            return []
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        except OSError:
            return []
    entered = [name for name, flag in NAMESPACES.items() if (first and name == "pid") or _libc.unshare(flag) == 0]
    if "mount" in entered:
        _libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC_PRIVATE), None)
    return entered


def bound_processes() -> None:
    """No more process numbers than a few in this pid namespace; they are its own since Linux 6.14, and the system's before."""
    release = os.uname().release.split(".")
    if [int(part) if part.isdecimal() else 0 for part in release[:2]] >= [6, 14]:
        try:
            Path("/proc/sys/kernel/pid_max").write_text(str(PROCESSES))
        except OSError:  # /proc/sys is often read-only in a container
            pass


def processes_are_bounded() -> bool:
    """Whether this pid namespace has no more numbers than `bound_processes` wants."""
    try:
        return int(Path("/proc/sys/kernel/pid_max").read_text()) <= PROCESSES
    except (OSError, ValueError):
        return False


def private_work_folder(work: str, uid: int) -> bool:
    """Put a small memory file system on the work folder, seen by this worker alone and gone with it."""
    options = f"size={WORK_BYTES},nr_inodes=4096,mode=0700,uid={uid},gid={uid}".encode()
    return _libc.mount(b"tmpfs", work.encode(), b"tmpfs", ctypes.c_ulong(MS_NOSUID_NODEV_NOEXEC), options) == 0


def limit(memory_mb: int, cpu_seconds: float, processes: int) -> None:
    """Resource limits: memory beyond what is mapped now, processor time, file size, descriptors, threads, no core dump.

    The kernel counts a user's processes, and root's not at all.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    address_space = pages * resource.getpagesize() + (memory_mb << 20)
    seconds = int(cpu_seconds) + 1
    for kind, value in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, WORK_BYTES // 4),
        (resource.RLIMIT_NOFILE, 1024),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        bounds = [each for each in (value, hard) if each != resource.RLIM_INFINITY]
        if bounds:
            resource.setrlimit(kind, (min(bounds), min(bounds)))


def take_small_pages() -> None:
    """New memory comes in pages of 4 KiB whatever the system prefers, so that a process holds what it has written to."""
    _libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)


def can_be_another_user(paths: Iterable[str]) -> bool:
    """Whether this is root, and any other user could read `paths` as well."""
    return os.geteuid() == 0 and not any(map(_unreadable, paths))


def drop_privileges(uid: int) -> list[str]:
    """Become the user `uid` for good, without any capability and without a way to gain one."""
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(64):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    user = "ordinary user"
    if os.geteuid() == 0:
        user = "root kept, since Python lies where no other user can read" if uid == 0 else "unprivileged user"
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        _libc.prctl(PR_SET_SECUREBITS, SECUREBITS_LOCKED, 0, 0, 0)
    _drop_capabilities()
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("no_new_privs was refused")
    return [user, "no capabilities", "no new privileges"]


def confine_files(readable: list[str], writable: str) -> str | None:
    """Landlock: read Python's installation and the student's files, write in one folder; the phrase for the report, or None."""
    try:
        return f"Landlock (ABI {landlock.restrict(readable, [writable])})"
    except OSError:
        return None


def readable_paths(private: Iterable[str]) -> list[str]:
    """What Python needs to go on running, less whatever is `private`: a folder that holds a private one is listed by
    its other entries.
    """
    scheme = sysconfig.get_paths()
    paths = {scheme[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")} | set(site.getsitepackages())
    paths |= {os.path.dirname(os.__file__), os.path.join(sys.base_prefix, "lib", f"python3.{sys.version_info.minor}")}
    paths |= {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/urandom"}
    paths |= {"/usr/share/zoneinfo", "/usr/share/fonts", "/etc/localtime"}
    packages = [module for name in PACKAGES if (module := sys.modules.get(name)) is not None]
    paths |= {os.path.dirname(os.path.dirname(os.path.realpath(module.__file__))) for module in packages}
    hidden = [os.path.realpath(path) for path in private]
    found: set[str] = set()
    for path in paths:
        found |= _without(os.path.realpath(path), hidden)
    return sorted(path for path in found if os.path.exists(path))


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends."""
    _libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)


def _without(path: str, hidden: list[str]) -> set[str]:
    if any(path == entry or path.startswith(entry + "/") for entry in hidden):
        return set()
    if not any(entry.startswith(path + "/") for entry in hidden):
        return {path}
    return set().union(*(_without(os.path.join(path, name), hidden) for name in os.listdir(path)))


def _unreadable(path: str) -> str | None:
    """The first folder on the way to `path` that others may not enter, or the file itself where others may not read it."""
    real = Path(os.path.realpath(path))
    if not real.exists():
        return None
    for folder in reversed(real.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return str(folder)
    needed = stat.S_IXOTH if real.is_dir() else stat.S_IROTH
    return None if real.stat().st_mode & needed else str(real)


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(header, nothing):
        raise OSError("capabilities could not be dropped")
