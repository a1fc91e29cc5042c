"""What ./scripts/check_corpus runs."""
