"""What a program is worth: extraction, sandbox, judge, verdicts, reward."""
