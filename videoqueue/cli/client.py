"""submit, status and results: what curl does, for those who prefer it so."""

from __future__ import annotations

import time
from pathlib import Path
from typing import IO, Any

import click

from videoqueue.cli.options import service_option, submission_options
from videoqueue.errors import VideoqueueError
from videoqueue.settings import load_settings, shown

_TIMEOUT = (5, 60)  # seconds to connect, and between two bytes of an answer


class Client:
    """Talks to the three endpoints; every failure is a VideoqueueError with the service's own words."""

    def __init__(self, url: str | None = None) -> None:
        self.url = (url or load_settings().url).rstrip("/")

    def submit(self, file: Path, parameters: dict[str, Any], idempotency_key: str | None = None) -> str:
        """Uploads the file as a raw body, with a progress bar on a terminal's stderr; returns the job id."""
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
            answer = self._ask("POST", "/video/submit", params=given, data=body, headers=headers)
        job_id: str = answer.json()["job_id"]
        return job_id

    def status(self, job_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._ask("GET", f"/video/status/{job_id}").json()
        return answer

    def wait(self, job_id: str) -> None:
        """Polls, with a progress bar, until the job is completed.

        Raises:
            VideoqueueError: the job failed; with its reason.
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
        """Copies the results' JSON to `output`, however large it is."""
        for piece in self._ask("GET", f"/video/results/{job_id}", stream=True).iter_content(64 * 1024):
            output.write(piece)

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        import requests

        try:
            answer = requests.request(method, self.url + path, timeout=_TIMEOUT, **options)
        except requests.RequestException:
            raise VideoqueueError(
                f"No answer from {shown(self.url)}. Start the service with `videoqueue up`, "
                "or name another with --url."
            ) from None
        if answer.ok:
            return answer
        try:
            detail = answer.json()["detail"]
        except (requests.JSONDecodeError, KeyError, TypeError):
            detail = (
                f"{shown(self.url)} answered {answer.status_code} and no reason; is it a videoqueue service?"
            )
        raise VideoqueueError(detail)


def _bar(total: int, description: str, **options: Any) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc=description, disable=None, leave=False, **options)


_existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_existing_file)
@submission_options
@click.option("--wait", is_flag=True, help="Return only when the job is completed; exit code 1 if it fails.")
@click.option("--idempotency-key", help="Submitting again with the same key gives the same job.")
@service_option
def submit(
    file: Path, wait: bool, idempotency_key: str | None, url: str | None, **parameters: str | int | None
) -> None:
    """Submit FILE to the service and print its job id."""
    client = Client(url)
    job_id = client.submit(file, parameters, idempotency_key)
    click.echo(job_id)
    if wait:
        client.wait(job_id)


@click.command()
@click.argument("job_id")
@service_option
def status(job_id: str, url: str | None) -> None:
    """Print how the job JOB_ID stands, as JSON."""
    import json

    click.echo(json.dumps(Client(url).status(job_id), indent=2, ensure_ascii=False))


@click.command()
@click.argument("job_id")
@click.option("-o", "--output", type=click.File("wb", lazy=True), default="-", help="Write to a file.")
@service_option
def results(job_id: str, output: IO[bytes], url: str | None) -> None:
    """Print the results of the completed job JOB_ID, as JSON."""
    Client(url).results(job_id, output)
