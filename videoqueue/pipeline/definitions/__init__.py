"""Pipeline definitions: reading the JSON files and checking them."""
