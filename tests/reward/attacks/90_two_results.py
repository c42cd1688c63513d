# ATTACK: two_results
# MODE: func
# EXPECT: WA|RE
# MUST: a result is what the function returns, once; more than one is none
# CONTROL: none: there is no second channel to write to without the judge
# AND ALWAYS: no PWNED in output; no leftover process/file (/tmp/pwned*, /dev/shm/pwned*); next job on the same worker gets its normal verdict.
import os
class Solution:
    def add(self, a, b):
        for descriptor in range(3, 10):
            try:
                os.write(descriptor, b"7")
            except OSError:
                pass
        return 7
