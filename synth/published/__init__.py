"""Published sets, brought into the data contract instead of being synthesised again."""
