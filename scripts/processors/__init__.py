"""What `./scripts/check_processors` needs."""
