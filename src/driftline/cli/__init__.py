"""The command line: each command loads what it needs when it runs, so that help comes at once."""
