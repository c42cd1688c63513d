"""Every command that the project's pages and recipes tell a reader to type, and what a test does with each."""
