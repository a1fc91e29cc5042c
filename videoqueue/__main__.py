"""`python -m videoqueue`: the command `videoqueue` where the package is not installed."""

import videoqueue.search_path  # noqa: F401 - first: it keeps out what lies in the working directory

# isort: split
from videoqueue.cli import main

main()
