"""Puts the HTTP edge on an app: routes, errors, limits and headers."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from videoqueue.api import admission, docs, health, problems, slots, video
from videoqueue.api.middleware import Middleware
from videoqueue.jobs.deadline import set_deadline
from videoqueue.services import Services


def install(app: Flask, services: Services) -> None:
    """`services` must have been installed."""
    settings = services.settings
    slots.install(app, settings)
    admission.install(app, services)
    app.before_request(lambda: set_deadline(settings.backend_timeout_seconds))
    app.teardown_request(lambda _: set_deadline(None))  # the thread goes on to other work
    app.register_blueprint(video.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(docs.blueprint)
    problems.register(app)
    if proxies := settings.trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies
        )
    app.wsgi_app = Middleware(app.wsgi_app)  # type: ignore[method-assign]
