"""The isolated execution of programs that nobody trusts.

`zygote` is a process per core, `template` a fork of it per submission, `programs` what a fork of that becomes for each
test; `protocol` is what they say to the supervisor. `filters` and `isolation` are what holds a program in.
"""
