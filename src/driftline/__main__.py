"""`python -m driftline` is the `driftline` command."""

from driftline.cli.app import main

main()
