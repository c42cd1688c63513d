"""The isolated execution of programs that nobody trusts."""
