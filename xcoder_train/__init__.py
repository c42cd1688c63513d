"""xcoder-train: from fully synthetic programming tasks to expert code models."""

import xcoder_core  # noqa: F401  # before anything imports torch
