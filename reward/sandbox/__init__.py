"""The isolated execution of programs that nobody trusts.

`zygote` is a process per core, `template` a fork of it per submission, `child` a fork of that per test; `protocol` is
what they say to the supervisor. `filters`, `landlock`, `namespaces` and `privileges` are what holds a program in.
"""
