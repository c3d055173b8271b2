"""The filter of system calls, as a program of the kernel's packet filter, assembled here so that no library is needed.

What is refused answers EPERM: tracing others, mounting, namespaces, kernel modules and keys, programs for the kernel, clocks, and every
kind of socket but unix and the internet's (which, without a network, reach nobody). A call in the convention of another processor ends the
process.
"""

import platform
import struct
from typing import Final

_LOAD, _EQUAL, _AND_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL, _EPERM, _NO_SUCH_CALL = 0x7FFF0000, 0x80000000, 0x00050000 | 1, 0x00050000 | 38
_NUMBER, _ARCH, _ARGUMENT_0, _ARGUMENT_1 = 0, 4, 16, 24
_X32_BIT: Final = 0x40000000
_CLONE_NEW: Final = 0x7E020080
"""Any CLONE_NEW* flag."""
_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

_ARCHES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_REFUSED: Final[dict[str, str]] = {
    "x86_64": "ptrace=101 process_vm_readv=310 process_vm_writev=311 process_madvise=440 kcmp=312 pidfd_getfd=438 mount=165 umount2=166 "
    "pivot_root=155 chroot=161 move_mount=429 open_tree=428 fsopen=430 fsconfig=431 fsmount=432 fspick=433 mount_setattr=442 unshare=272 "
    "setns=308 clone3=435 bpf=321 perf_event_open=298 userfaultfd=323 keyctl=250 add_key=248 request_key=249 init_module=175 "
    "finit_module=313 delete_module=176 kexec_load=246 kexec_file_load=320 reboot=169 swapon=167 swapoff=168 acct=163 quotactl=179 "
    "settimeofday=164 clock_settime=227 adjtimex=159 clock_adjtime=305 iopl=172 ioperm=173 syslog=103 name_to_handle_at=303 "
    "open_by_handle_at=304 io_uring_setup=425 io_uring_enter=426 io_uring_register=427 personality=135 vhangup=153 sethostname=170 "
    "setdomainname=171 mknod=133 mknodat=259 fanotify_init=300 lookup_dcookie=212",
    "aarch64": "ptrace=117 process_vm_readv=270 process_vm_writev=271 process_madvise=440 kcmp=272 pidfd_getfd=438 mount=40 umount2=39 "
    "pivot_root=41 chroot=51 move_mount=429 open_tree=428 fsopen=430 fsconfig=431 fsmount=432 fspick=433 mount_setattr=442 unshare=97 "
    "setns=268 clone3=435 bpf=280 perf_event_open=241 userfaultfd=282 keyctl=219 add_key=217 request_key=218 init_module=105 "
    "finit_module=273 delete_module=106 kexec_load=104 kexec_file_load=294 reboot=142 swapon=224 swapoff=225 acct=89 quotactl=60 "
    "settimeofday=170 clock_settime=112 adjtimex=171 clock_adjtime=266 syslog=116 name_to_handle_at=264 open_by_handle_at=265 "
    "io_uring_setup=425 io_uring_enter=426 io_uring_register=427 personality=92 vhangup=58 sethostname=161 setdomainname=162 mknodat=33 "
    "fanotify_init=262 lookup_dcookie=18",
}
_ENOSYS: Final = frozenset(("clone3",))
"""Refused as if it did not exist: the C library then falls back to `clone`, whose flags can be looked at."""
_LOOKED_AT: Final = {"x86_64": {"socket": 41, "clone": 56, "ioctl": 16}, "aarch64": {"socket": 198, "clone": 220, "ioctl": 29}}

_LEAVES_THE_GROUP: Final = {"x86_64": {"setsid": 112, "setpgid": 109}, "aarch64": {"setsid": 157, "setpgid": 154}}
_REFUSE_ELSE_ALLOW: Final = ((_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW))


def program(machine: str | None = None, *, confined: bool = True) -> bytes | None:
    """The filter for this machine, or None where we know none. Who is not `confined` by namespaces makes unix sockets only, and can't leave
    the group of processes that is ended with the command."""
    machine = machine or platform.machine()
    if machine not in _ARCHES:
        return None
    calls = {name: int(number) for name, _, number in (entry.partition("=") for entry in _REFUSED[machine].split(" "))}
    calls |= {} if confined else _LEAVES_THE_GROUP[machine]
    looked_at = _LOOKED_AT[machine]
    lines = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, _ARCHES[machine]), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        lines += [(_AND_SET, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL)]
    for name, number in calls.items():
        refusal = _NO_SUCH_CALL if name in _ENOSYS else _EPERM
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refusal)]
    families = (_AF_UNIX, _AF_INET, _AF_INET6) if confined else (_AF_UNIX,)
    lines += _when(looked_at["socket"], [(_LOAD, 0, 0, _ARGUMENT_0), *_only(families)])
    lines += _when(looked_at["clone"], [(_LOAD, 0, 0, _ARGUMENT_0), (_AND_SET, 0, 1, _CLONE_NEW), *_REFUSE_ELSE_ALLOW])
    lines += _when(
        looked_at["ioctl"], [(_LOAD, 0, 0, _ARGUMENT_1), (_EQUAL, 1, 0, _TIOCSTI), (_EQUAL, 0, 1, _TIOCLINUX), *_REFUSE_ELSE_ALLOW]
    )
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


_Line = tuple[int, int, int, int]


def _when(number: int, body: list[_Line]) -> list[_Line]:
    return [(_EQUAL, 0, len(body), number), *body]


def _only(families: tuple[int, ...]) -> list[_Line]:
    """Allow these values, refuse all others."""
    checks: list[_Line] = [(_EQUAL, len(families) - at, 0, family) for at, family in enumerate(families)]
    return [*checks, (_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]
