"""The commands submit, status and results, and the client that commands use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

import click

from videoqueue.cli.api_key import key_for
from videoqueue.cli.option_types import HeaderText, Text
from videoqueue.cli.options import output_option, service_option, submission_options
from videoqueue.errors import VideoqueueError
from videoqueue.settings import load_settings, shown

if TYPE_CHECKING:
    from tqdm import tqdm

    from videoqueue.client import Client, ClientError, JobStatus


@contextmanager
def connected(
    url: str | None = None, key: str | None = None, *, writes_output: bool = False
) -> Iterator[Client]:
    """Yields a client that sends each request once, so that a command fails at once.

    Args:
        url: the address of the service; VIDEOQUEUE_URL by default.
        key: the key to send; by default that of the settings or of the file.
        writes_output: whether the block copies a response to the output of the command.

    Raises:
        VideoqueueError: the file of the key can be read by other users; or a request in the block fails, and
            the message says what to do about it on the command line.
    """
    from videoqueue.client import Client, ClientError

    settings = load_settings()
    url = (url or settings.url).rstrip("/")
    key = key or key_for(url, settings) or ""
    try:
        client = Client(url, key, retry_seconds=0)
    except ValueError as error:
        raise VideoqueueError(str(error)) from None
    with client:
        try:
            yield client
        except ClientError as error:
            if writes_output and error.code == "broken_response":
                message = "The connection broke off, so the output is incomplete. Run the command again."
            else:
                message = _message(error, shown(url), has_key=bool(key))
        else:
            return
    raise VideoqueueError(message)


def _message(error: ClientError, url: str, *, has_key: bool) -> str:
    if error.code in ("no_response", "broken_response"):
        return (
            f"No response from {url}. Start the service with `videoqueue up`, or name another service with "
            "--url."
        )
    if error.code is None and error.status is not None and "problem description" in error.detail:
        return (
            f"{url} returned status {error.status} without a problem description. Check that --url or "
            "VIDEOQUEUE_URL is the address of a videoqueue service."
        )
    return f"{error.detail} {_remedy(has_key=has_key)}" if error.status == 401 else error.detail


def _remedy(*, has_key: bool) -> str:
    """Returns how a command sends a key that the service takes."""
    if not has_key:
        return "This command sends the key in VIDEOQUEUE_API_KEY: set it."
    return (
        "This command sent the key in VIDEOQUEUE_API_KEY, or in the file `api-key` of the data folder: "
        "set VIDEOQUEUE_API_KEY to another one."
    )


def upload(
    client: Client, file: Path, parameters: Mapping[str, str | int | None], idempotency_key: str | None = None
) -> str:
    """Uploads a video, with a progress bar if stderr is a terminal. Returns the job id."""
    given = {name: value for name, value in parameters.items() if value is not None}
    with _bar(file.stat().st_size, "uploading", unit="B", unit_scale=True) as bar:
        return client.submit(
            file,
            idempotency_key=idempotency_key,
            progress=lambda sent, _total: bar.update(sent - bar.n),
            **given,  # type: ignore[arg-type]
        )


def wait_for(client: Client, job_id: str) -> None:
    """Polls until the job is completed, with a progress bar if stderr is a terminal.

    Raises:
        ClientError: also when the job has failed; the message contains its reason.
    """

    def show(job: JobStatus) -> None:
        bar.update(round(job["progress"] * 100) - bar.n)

    with _bar(100, "processing", bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}") as bar:
        client.wait(job_id, on_status=show)


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
    with connected(url) as client:
        job_id = upload(client, file, parameters | {"name": name}, idempotency_key)
        click.echo(job_id)
        if wait:
            wait_for(client, job_id)


@click.command()
@click.argument("job_id", type=Text())
@service_option
def status(job_id: str, url: str | None) -> None:
    """Print the status of the job JOB_ID, as JSON."""
    import json

    with connected(url) as client:
        click.echo(json.dumps(client.status(job_id), indent=2, ensure_ascii=False))


@click.command()
@click.argument("job_id", type=Text())
@output_option
@service_option
def results(job_id: str, output: IO[bytes], url: str | None) -> None:
    """Print the results of the completed job JOB_ID, as JSON."""
    with connected(url, writes_output=True) as client:
        client.save_results(job_id, output)
