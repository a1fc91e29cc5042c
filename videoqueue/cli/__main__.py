"""`python -m videoqueue.cli`, where the package is not installed."""

from videoqueue.cli import main

main()
