"""The gunicorn server: its configuration, its worker class and its client sockets."""
