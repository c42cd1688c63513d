"""What every other part stands on; imports nothing else of the project."""

from xcoder_core.threads import give_way

give_way()  # before anything imports torch, whose threads read how long they spin when they are loaded
