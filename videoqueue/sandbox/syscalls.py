"""Numbers of system calls on x86_64 (arch/x86/entry/syscalls/syscall_64.tbl), and those that are harmless."""

from __future__ import annotations

from typing import Final


def _table(text: str) -> dict[str, int]:
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


#: Calls that reach only this process, its open files, and the files that Landlock allows.
_OWN: Final = _table("""
    read 0 write 1 close 3 stat 4 fstat 5 lstat 6 poll 7 lseek 8 mmap 9 mprotect 10 munmap 11 brk 12
    rt_sigaction 13 rt_sigprocmask 14 rt_sigreturn 15 pread64 17 pwrite64 18 readv 19 writev 20 access 21
    pipe 22 select 23 sched_yield 24 mremap 25 msync 26 mincore 27 madvise 28 dup 32 dup2 33 pause 34
    nanosleep 35 getitimer 36 alarm 37 setitimer 38 getpid 39 exit 60 wait4 61 uname 63 flock 73 fsync 74
    fdatasync 75 ftruncate 77 getdents 78 getcwd 79 chdir 80 fchdir 81 rename 82 mkdir 83 rmdir 84
    unlink 87 readlink 89 umask 95 gettimeofday 96 getrlimit 97 getrusage 98 sysinfo 99 times 100
    getuid 102 getgid 104 geteuid 107 getegid 108 getppid 110 getpgrp 111 getgroups 115 getresuid 118
    getresgid 120 getpgid 121 getsid 124 rt_sigpending 127 rt_sigtimedwait 128 rt_sigsuspend 130
    sigaltstack 131 statfs 137 fstatfs 138 getpriority 140 sched_getparam 143 sched_getscheduler 145
    sched_get_priority_max 146 sched_get_priority_min 147 sched_rr_get_interval 148 mlock 149 munlock 150
    arch_prctl 158 setrlimit 160 gettid 186 readahead 187 time 201 futex 202 sched_getaffinity 204
    getdents64 217 set_tid_address 218 restart_syscall 219 fadvise64 221 clock_gettime 228 clock_getres 229
    clock_nanosleep 230 exit_group 231 epoll_wait 232 epoll_ctl 233 mbind 237 set_mempolicy 238
    get_mempolicy 239 waitid 247 mkdirat 258 newfstatat 262 unlinkat 263 renameat 264 readlinkat 267
    faccessat 269 pselect6 270 ppoll 271 set_robust_list 273 sync_file_range 277 epoll_pwait 281
    eventfd 284 fallocate 285 eventfd2 290 epoll_create1 291 dup3 292 pipe2 293 preadv 295 pwritev 296
    getcpu 309 sched_getattr 315 renameat2 316 getrandom 318 membarrier 324 mlock2 325 copy_file_range 326
    preadv2 327 pwritev2 328 statx 332 rseq 334 close_range 436 faccessat2 439 epoll_pwait2 441
    futex_waitv 449
""")
#: Calls on connections; none listens for them.
_OF_SOCKETS: Final = _table("""
    connect 42 sendto 44 recvfrom 45 sendmsg 46 recvmsg 47 shutdown 48 getsockname 51 getpeername 52
    setsockopt 54 getsockopt 55 recvmmsg 299 sendmmsg 307
""")
#: Calls that are allowed for some arguments only, or with an error of their own.
_BY_ARGUMENTS: Final = _table("""
    open 2 ioctl 16 socket 41 clone 56 kill 62 fcntl 72 prctl 157 sched_setaffinity 203 tgkill 234
    openat 257 prlimit64 302 clone3 435
""")

ALWAYS: Final = tuple(_OWN)
NETWORK: Final = tuple(_OF_SOCKETS)
#: The number of each call that a filter names.
NUMBERS: Final = _OWN | _OF_SOCKETS | _BY_ARGUMENTS
