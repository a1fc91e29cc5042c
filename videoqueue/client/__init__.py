"""The Python client of the service. It needs `requests`, and loads nothing of the service itself.

Example:
    Submit a video, wait, and print the text of each frame::

        from videoqueue.client import Client

        with Client("http://127.0.0.1:8000") as client:
            job_id = client.submit("match.mp4")
            client.wait(job_id)
            for frame in client.frames(job_id):
                print(frame["frame_index"], frame["result"]["text"])
"""

from videoqueue.client.client import Client
from videoqueue.client.errors import ClientError, JobFailedError, WaitTimeoutError
from videoqueue.client.types import (
    Frame,
    JobDescription,
    JobResults,
    JobStatus,
    JobSummary,
    LabelSegment,
    PipelineSummary,
    Segments,
    Status,
    TextSegment,
    VideoDescription,
)

__all__ = [
    "Client",
    "ClientError",
    "Frame",
    "JobDescription",
    "JobFailedError",
    "JobResults",
    "JobStatus",
    "JobSummary",
    "LabelSegment",
    "PipelineSummary",
    "Segments",
    "Status",
    "TextSegment",
    "VideoDescription",
    "WaitTimeoutError",
]
