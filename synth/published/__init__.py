"""Published sets, brought into the data contract instead of being synthesised again.

`files` finds a set's files and reads their rows, `rows` reads one row, `work` sorts more than memory holds,
`pooling` makes one problem of all rows that state it, and `stage` leads through it.
"""
