"""The page for people, in the browser: its files, its login and its video."""
