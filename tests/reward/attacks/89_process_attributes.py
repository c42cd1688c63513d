# ATTACK: process_attributes
# MODE: stdio
# EXPECT: WA|RE
# MUST: the process cannot make itself readable by others again, outlive its parent or adopt orphans
# CONTROL: prints PWNED
# AND ALWAYS: no PWNED in output; no leftover process/file (/tmp/pwned*, /dev/shm/pwned*); next job on the same worker gets its normal verdict.
import ctypes
libc = ctypes.CDLL(None)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36
for option, value in ((PR_SET_DUMPABLE, 1), (PR_SET_PDEATHSIG, 0), (PR_SET_CHILD_SUBREAPER, 1)):
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0:
        print("PWNED")
