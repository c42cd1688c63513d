# ATTACK: memory_behind_stack_size
# MODE: stdio
# EXPECT: MLE|RE
# MUST: the room for the stack of a thread (threading.stack_size) is no memory to be had
# CONTROL: fills memory
# AND ALWAYS: no PWNED in output; no leftover process/file (/tmp/pwned*, /dev/shm/pwned*); next job on the same worker gets its normal verdict.
held = []
while True:
    held.append(bytes(bytearray(1 << 20)))
