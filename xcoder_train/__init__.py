"""xcoder-train: from fully synthetic programming tasks to expert code models."""
