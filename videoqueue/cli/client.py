"""The client of the service, and the commands submit, status and results."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click

from videoqueue.cli.api_key import KeyHeader, key_for
from videoqueue.cli.option_types import HeaderText, Text
from videoqueue.cli.options import output_option, service_option, submission_options
from videoqueue.errors import VideoqueueError
from videoqueue.settings import load_settings, shown

if TYPE_CHECKING:
    import requests
    from tqdm import tqdm
    from tqdm.utils import CallbackIOWrapper

#: Seconds to connect, and between two bytes of a response.
_TIMEOUT = (5, 60)


class Client:
    """A client of the service.

    All methods raise VideoqueueError when the request fails; the message is the service's.
    """

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        """Connects to nothing yet.

        Args:
            url: the address of the service; VIDEOQUEUE_URL by default.
            key: the key to send; by default that of the settings or of the file.

        Raises:
            VideoqueueError: the file of the key can be read by other users.
        """
        settings = load_settings()
        self.url = (url or settings.url).rstrip("/")
        key = key or key_for(self.url, settings)
        self._auth = None if key is None else KeyHeader(key)

    def submit(
        self, file: Path, parameters: Mapping[str, str | int | None], idempotency_key: str | None = None
    ) -> str:
        """Uploads a video, with a progress bar if stderr is a terminal.

        Args:
            file: the video.
            parameters: the parameters of the submission; those that are None are left out.
            idempotency_key: the idempotency key.

        Returns:
            The job id.
        """
        from tqdm.utils import CallbackIOWrapper

        headers = {"Content-Type": "video/mp4"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        given = {name: value for name, value in parameters.items() if value is not None}
        with (
            file.open("rb") as stream,
            _bar(file.stat().st_size, "uploading", unit="B", unit_scale=True) as bar,
        ):
            body = CallbackIOWrapper(bar.update, stream, "read")
            response = self._request("POST", "/video/submit", parameters=given, body=body, headers=headers)
        job_id: str = response.json()["job_id"]
        return job_id

    def status(self, job_id: str) -> dict[str, Any]:
        """Returns the status of a job, as the service sends it."""
        status: dict[str, Any] = self._request("GET", f"/video/status/{job_id}").json()
        return status

    def wait(self, job_id: str) -> None:
        """Polls until the job is completed, with a progress bar if stderr is a terminal.

        Raises:
            VideoqueueError: also when the job has failed; the message contains its reason.
        """
        with _bar(100, "processing", bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}") as bar:
            while True:
                job = self.status(job_id)
                bar.update(round(job["progress"] * 100) - bar.n)
                if job["status"] == "failed":
                    raise VideoqueueError(f"Job {job_id} failed: {job['error_message']}")
                if job["status"] == "completed":
                    return
                time.sleep(0.5)

    def results(self, job_id: str, output: IO[bytes]) -> None:
        """Copies the results of a job to `output`, as JSON and in pieces of 64 KiB."""
        response = self._request("GET", f"/video/results/{job_id}", stream=True)
        _copy(response, output)

    def segments(self, job_id: str, min_confidence: float | None = None) -> dict[str, Any]:
        """Returns the segments of a completed job, as the service sends them."""
        given = {} if min_confidence is None else {"min_confidence": f"{min_confidence:f}"}
        found: dict[str, Any] = self._request("GET", f"/jobs/{job_id}/segments", parameters=given).json()
        return found

    def export(self, job_id: str, output: IO[bytes], name: str, min_confidence: float | None = None) -> None:
        """Copies the results of a completed job to `output`, in the format `name`, in pieces of 64 KiB."""
        given = {"format": name}
        if min_confidence is not None:
            given["min_confidence"] = f"{min_confidence:f}"
        response = self._request("GET", f"/jobs/{job_id}/export", parameters=given, stream=True)
        _copy(response, output)

    def _request(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str | int] | None = None,
        body: CallbackIOWrapper | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        import requests

        try:
            response = requests.request(
                method,
                self.url + path,
                params=parameters,
                data=body,
                headers=headers,
                stream=stream,
                auth=self._auth,
                timeout=_TIMEOUT,
            )
        except requests.RequestException:
            raise VideoqueueError(
                f"No response from {shown(self.url)}. Start the service with `videoqueue up`, "
                "or name another service with --url."
            ) from None
        if response.ok:
            return response
        try:
            detail = response.json()["detail"]
            if response.status_code == 401:
                detail += f" {self._remedy()}"
        except (requests.JSONDecodeError, KeyError, TypeError):
            detail = (
                f"{shown(self.url)} returned status {response.status_code} without a problem description. "
                "Check that --url or VIDEOQUEUE_URL is the address of a videoqueue service."
            )
        raise VideoqueueError(detail)

    def _remedy(self) -> str:
        """Returns how a command sends a key that the service takes."""
        if self._auth is None:
            return "This command sends the key in VIDEOQUEUE_API_KEY: set it."
        return (
            "This command sent the key in VIDEOQUEUE_API_KEY, or in the file `api-key` of the data folder: "
            "set VIDEOQUEUE_API_KEY to another one."
        )


def _copy(response: requests.Response, output: IO[bytes]) -> None:
    import requests

    try:
        for piece in response.iter_content(64 * 1024):
            output.write(piece)
    except requests.RequestException:
        raise VideoqueueError(
            "The connection broke off, so the output is incomplete. Run the command again."
        ) from None


def _bar(
    total: int,
    description: str,
    *,
    unit: str = "it",
    unit_scale: bool = False,
    bar_format: str | None = None,
) -> tqdm[NoReturn]:
    from tqdm import tqdm

    return tqdm(
        total=total,
        desc=description,
        unit=unit,
        unit_scale=unit_scale,
        bar_format=bar_format,
        disable=None,
        leave=False,
    )


_existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_existing_file)
@submission_options
@click.option("--wait", is_flag=True, help="Wait until the job is completed. The exit code is 1 if it fails.")
@click.option(
    "--name",
    type=Text(255, minimum=1),
    help="Name of the video, only for display. [default: the name of FILE]",
)
@click.option(
    "--idempotency-key",
    type=HeaderText(255),
    help="A second submission with the same key returns the first job.",
)
@service_option
def submit(
    file: Path,
    wait: bool,
    name: str | None,
    idempotency_key: str | None,
    url: str | None,
    **parameters: str | int | None,
) -> None:
    """Submit FILE to the service and print its job id."""
    client = Client(url)
    shown = os.fsencode(file.name).decode(errors="replace") if name is None else name
    job_id = client.submit(file, parameters | {"name": shown}, idempotency_key)
    click.echo(job_id)
    if wait:
        client.wait(job_id)


@click.command()
@click.argument("job_id", type=Text())
@service_option
def status(job_id: str, url: str | None) -> None:
    """Print the status of the job JOB_ID, as JSON."""
    import json

    click.echo(json.dumps(Client(url).status(job_id), indent=2, ensure_ascii=False))


@click.command()
@click.argument("job_id", type=Text())
@output_option
@service_option
def results(job_id: str, output: IO[bytes], url: str | None) -> None:
    """Print the results of the completed job JOB_ID, as JSON."""
    Client(url).results(job_id, output)
