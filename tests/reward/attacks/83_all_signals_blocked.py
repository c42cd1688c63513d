# ATTACK: all_signals_blocked
# MODE: stdio
# EXPECT: TLE
# MUST: blocking every signal that can be blocked, in threads too, does not outlast the limit
# CONTROL: lasts
# AND ALWAYS: no PWNED in output; no leftover process/file (/tmp/pwned*, /dev/shm/pwned*); next job on the same worker gets its normal verdict.
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
def spin():
    while True: pass
for _ in range(4):
    threading.Thread(target=spin).start()
spin()
