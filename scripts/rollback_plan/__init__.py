"""What scripts/rollback does: read the plan, hold it against the tree, work out the changes."""
