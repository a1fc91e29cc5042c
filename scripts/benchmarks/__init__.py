"""What ./scripts/benchmark measures."""
