# ATTACK: leave_process_group
# MODE: stdio
# EXPECT: WA|RE
# MUST: the group that is killed at the end holds every process of the job
# CONTROL: prints PWNED
# AND ALWAYS: no PWNED in output; no leftover process/file (/tmp/pwned*, /dev/shm/pwned*); next job on the same worker gets its normal verdict.
import os
for leave in (lambda: os.setpgid(0, 0), os.setsid, lambda: os.nice(1)):
    try:
        leave()
        print("PWNED")
    except OSError:
        pass
