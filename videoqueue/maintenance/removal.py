"""Deletes a job: its row and results in one transaction, then its video."""

from __future__ import annotations

import logging
import uuid

from sqlalchemy.engine import Engine

from videoqueue.causes import cause_fields
from videoqueue.errors import TransientError
from videoqueue.failpoints import failpoint
from videoqueue.jobs.deletion import DeletedJob, Deletions
from videoqueue.jobs.types import OwnerLimits, OwnerScope
from videoqueue.storage import ObjectStorage

logger = logging.getLogger(__name__)


class Remover:
    """Deletes jobs in any state, for clients and operators. Several processes may do so at the same time."""

    def __init__(self, engine: Engine, storage: ObjectStorage, limits: OwnerLimits) -> None:
        """Connects to nothing yet. `limits` are those of each owner that has no exceptions."""
        self._deletions = Deletions(engine, limits)
        self._storage = storage

    def delete(self, job_id: uuid.UUID, owner: OwnerScope) -> DeletedJob | None:
        """Deletes a job of the owner, whatever its state.

        A worker that processes the job ends its child when it next renews the lease. If the video cannot be
        removed now, the next purge removes it.

        Returns:
            The deleted job, or None if the owner has no job with this id.

        Raises:
            DatabaseUnavailableError: the job was not deleted.
        """
        deleted = self._deletions.delete(job_id, owner)
        if deleted is None:
            return None
        failpoint("deletion.row_deleted")
        try:
            self.finish(deleted)
        except TransientError as error:
            logger.warning(
                "The video of a deleted job was not removed; the next purge does so.",
                extra={"job_id": job_id, **cause_fields(error)},
            )
        failpoint("deletion.finished")
        return deleted

    def finish(self, deleted: DeletedJob) -> None:
        """Removes the video of a deleted job, unless another job has the same.

        Raises:
            DatabaseUnavailableError, StorageUnavailableError: a later call finishes the deletion.
        """
        if not self._deletions.is_needed(deleted):
            self._storage.delete(deleted.input_key)
        failpoint("deletion.video_deleted")
        self._deletions.finish(deleted)
