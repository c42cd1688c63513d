"""xcoder-train: from fully synthetic programming tasks to expert code models."""

from xcoder_train.core.threads import give_way

give_way()  # before anything imports torch, whose threads read how long they spin when they are loaded
