"""The built-in teacher: typed operations composed into tasks whose truth is known."""
