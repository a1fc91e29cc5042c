"""What the views of an application share: one object in `app.extensions`."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Flask

from videoqueue.api.admission import Admission, RequestLimit
from videoqueue.api.probe import ReadinessCheck
from videoqueue.services import Services

_KEY = "videoqueue"


@dataclass(frozen=True, kw_only=True)
class Extension:
    """The parts of the application, and what its requests share.

    Attributes:
        services: the parts that `videoqueue.services` made.
        uploads: the limit of videos that are received at once.
        downloads: the limit of results that are sent at once.
        admission: decides whether another job can be accepted.
        readiness: checks the backends for /readyz.
    """

    services: Services
    uploads: RequestLimit
    downloads: RequestLimit
    admission: Admission
    readiness: ReadinessCheck


def install(app: Flask, services: Services) -> None:
    """Adds the extension to the application."""
    settings = services.settings
    app.extensions[_KEY] = Extension(
        services=services,
        uploads=RequestLimit(settings.max_concurrent_uploads, "uploads", "VIDEOQUEUE_MAX_CONCURRENT_UPLOADS"),
        downloads=RequestLimit(
            settings.max_concurrent_downloads, "downloads", "VIDEOQUEUE_MAX_CONCURRENT_DOWNLOADS"
        ),
        admission=Admission(services),
        readiness=ReadinessCheck(services),
    )


def extension_of(app: Flask) -> Extension:
    """Returns what `install` added to the application."""
    extension: Extension = app.extensions[_KEY]
    return extension


def services_of(app: Flask) -> Services:
    """Returns the parts that the application was made from."""
    return extension_of(app).services
