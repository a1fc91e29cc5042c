"""What `./scripts/evaluate_text` needs."""
