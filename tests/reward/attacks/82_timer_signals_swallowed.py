# ATTACK: timer_signals_swallowed
# MODE: stdio
# EXPECT: TLE
# MUST: a program that floods itself with timers and swallows whatever is raised in it is ended at its limit
# CONTROL: lasts
# AND ALWAYS: no PWNED in output; no leftover process/file (/tmp/pwned*, /dev/shm/pwned*); next job on the same worker gets its normal verdict.
import signal
for number in (signal.SIGALRM, signal.SIGPROF, signal.SIGVTALRM):
    signal.signal(number, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while True:
    try:
        while True: pass
    except BaseException:
        pass
