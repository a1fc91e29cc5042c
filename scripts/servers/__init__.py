"""What ./scripts/check_servers runs."""
