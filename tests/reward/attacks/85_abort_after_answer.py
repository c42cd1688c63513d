# ATTACK: abort_after_answer
# MODE: stdio
# EXPECT: RE
# MUST: an answer does not count where the process then ends by a signal
# CONTROL: ends SIGABRT
# AND ALWAYS: no PWNED in output; no leftover process/file (/tmp/pwned*, /dev/shm/pwned*); next job on the same worker gets its normal verdict.
import os
print(7, flush=True)
os.abort()
