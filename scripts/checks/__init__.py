"""Checks from the outside: `scripts/validate migrations` and `scripts/validate smoke`."""
