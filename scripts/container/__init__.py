"""Does what a container engine does with the Dockerfile, as far as this project needs it."""
