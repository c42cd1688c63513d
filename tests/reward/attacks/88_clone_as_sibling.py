# ATTACK: clone_as_sibling
# MODE: stdio
# EXPECT: WA|RE
# MUST: no process is made, neither below this one nor beside it (CLONE_PARENT), with memory shared or not
# CONTROL: prints PWNED
# AND ALWAYS: no PWNED in output; no leftover process/file (/tmp/pwned*, /dev/shm/pwned*); next job on the same worker gets its normal verdict.
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 56, "aarch64": 220}[platform.machine()]
CLONE_PARENT, CLONE_FILES, SIGCHLD = 0x8000, 0x400, 17
for flags in (CLONE_PARENT, CLONE_PARENT | CLONE_FILES | SIGCHLD, SIGCHLD):
    made = libc.syscall(ctypes.c_long(number), ctypes.c_ulong(flags), None, None, None, None)
    if made == 0:
        libc._exit(0)
    if made > 0:
        print("PWNED")
