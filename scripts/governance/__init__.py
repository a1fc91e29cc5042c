"""Checks that concepts which do not belong in this service stay out of it: `scripts/validate_governance`."""
