"""Pipeline definitions: reads the JSON files and checks them."""
