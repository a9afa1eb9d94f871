"""Who asks for the responses of a dataset: a small file on the branch where they are shared, renewed meanwhile."""

import json
import re
import time
from typing import TYPE_CHECKING, Any

from ..errors import HFDistillError


if TYPE_CHECKING:
    from huggingface_hub import HfApi

BRANCH = "partial"
TRIES = 20  # against others who commit at the same moment


class ClaimLost(HFDistillError):
    """Another process asks for these responses now."""


class AskingClaim:
    """The right to ask for a plan's responses, or for a shard's, which nobody else has meanwhile.

    Args:
        api (`HfApi`): of the Hub.
        repo_id (`str`): the dataset; it must exist.
        folder (`str`): of this plan's responses on the branch.
        who (`str`): a random name, by which a journal knows its own claim again.
        shard (`str`, *optional*): `3/8` is the third of eight.
        seconds (`float`): after which it is lost unless it is renewed.
    """

    def __init__(self, api: "HfApi", repo_id: str, folder: str, who: str, shard: str | None, seconds: float):
        self._api, self._repo_id, self._folder = api, repo_id, f"{folder}/claims"
        self._who, self._shard, self._seconds = who, shard, seconds

    @property
    def _own(self) -> str:
        return f"{self._folder}/{self._who}.json"

    def take(self, take_over: bool = False) -> None:
        """Claim the responses.

        Args:
            take_over (`bool`, *optional*, defaults to `False`): end the claims of others that stand in the way.

        Raises:
            [`~hfdistill.errors.HFDistillError`]: if another process has a claim to some of them.
        """
        self._api.create_branch(self._repo_id, branch=BRANCH, repo_type="dataset", exist_ok=True)
        for _ in range(TRIES):
            head, claims = self._found()
            others = {file: told for file, told in claims.items() if file != self._own and self._meets(told["shard"])}
            for told in others.values():
                left = told["until"] - time.time()
                if left > 0 and not take_over:
                    which = f"shard {told['shard']} of the responses" if told["shard"] else "the responses"
                    raise HFDistillError(
                        f"another process asks for {which} to {self._repo_id} (claim {told['who'][:8]}): wait for it, "
                        "or share the questions by --shard 1/2 and --shard 2/2. If it was lost, its claim ends in "
                        f"{left:.0f} s, or at once by --take_over true"
                    )
            if self._commit(head, "a claim", others):
                return
        raise HFDistillError(f"{self._repo_id} is busy: too many commit to its branch {BRANCH} at once; try again")

    def renew(self) -> None:
        """Say that it lasts.

        Raises:
            [`ClaimLost`]: if another process took over.
        """
        for _ in range(TRIES):
            head, claims = self._found()
            if self._own not in claims:
                raise ClaimLost(
                    f"another process has taken over the asking for {self._repo_id}; what was answered here is kept"
                )
            if self._commit(head, "a claim lasts", ()):
                return

    def release(self) -> None:
        """End the claim."""
        for _ in range(TRIES):
            head, claims = self._found()
            if self._own not in claims or self._commit(head, "a claim ends", [self._own], stays=False):
                return

    def _meets(self, shard: str | None) -> bool:
        """Whether there is a question that both a shard and this one have; `None` has all."""
        if not shard or not self._shard:
            return True
        (index, count), (own, own_count) = (part.split("/") for part in (shard, self._shard))
        return count != own_count or index == own

    def _found(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """The branch's head, and the claims there, by their files."""
        refs = self._api.list_repo_refs(self._repo_id, repo_type="dataset")
        head = next((branch.target_commit for branch in refs.branches if branch.name == BRANCH), None)
        if head is None:
            raise ClaimLost(f"the branch {BRANCH} of {self._repo_id} is gone: its dataset was published meanwhile")
        claims = {}
        for file in self._api.list_repo_files(self._repo_id, repo_type="dataset", revision=head):
            if re.fullmatch(rf"{re.escape(self._folder)}/\w+\.json", file):
                path = self._api.hf_hub_download(self._repo_id, file, repo_type="dataset", revision=head)
                with open(path, encoding="utf-8") as told:
                    claims[file] = json.load(told)
        return head, claims

    def _commit(self, head: str, message: str, gone: Any, stays: bool = True) -> bool:
        """Write this claim and delete files; returns whether nobody else committed since `head`."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.errors import HfHubHTTPError

        now = round(time.time())
        told = {"who": self._who, "shard": self._shard, "at": now, "until": now + self._seconds}
        operations: list[Any] = [CommitOperationDelete(file) for file in gone]
        if stays:
            operations.append(CommitOperationAdd(self._own, json.dumps(told).encode()))
        try:
            self._api.create_commit(
                self._repo_id,
                operations,
                commit_message=message,
                repo_type="dataset",
                revision=BRANCH,
                parent_commit=head,
            )
        except HfHubHTTPError as error:
            if error.response.status_code not in (409, 412):
                raise
            return False
        return True
