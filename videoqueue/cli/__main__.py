"""`python -m videoqueue.cli`, the same as `python -m videoqueue`."""

from videoqueue.cli import main

main()
