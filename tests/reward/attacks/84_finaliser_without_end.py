# ATTACK: finaliser_without_end
# MODE: stdio
# EXPECT: TLE
# MUST: what runs after the program's last line counts against its limits
# CONTROL: lasts
# AND ALWAYS: no PWNED in output; no leftover process/file (/tmp/pwned*, /dev/shm/pwned*); next job on the same worker gets its normal verdict.
class Clinging:
    def __del__(self):
        while True: pass
clinging = Clinging()
print(7)
