"""The hub of Hugging Face: versions of repositories as folders in the cache, and why one cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from plantain.operators.errors import ModelUnavailableError
from plantain.operators.redaction import sentence_of

PICKLED = "model.pt"
"""The one file that holds a network and its configuration where there are no safetensors."""

WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""Everything that a checkpoint is loaded from: neither pickles, nor copies for other frameworks."""

_CODE = ["*.py"]
# Of weights what the libraries load: neither copies in another precision (`model.fp16.safetensors`), nor one file for
# other programs beside the parts.
_LOADED = [
    f"{folder}{name}{part}.safetensors"
    for folder, name in (("", "model"), ("*/", "model"), ("*/", "diffusion_pytorch_model"))
    for part in ("", "-*-of-*")
] + [PICKLED]

# A hub that does not answer is given up after this long, seconds.
_ETAG_TIMEOUT_S = 10.0


def fetched(
    repository: str,
    revision: str = "",
    *,
    offline: bool = False,
    has_code: bool = False,
    has_names: bool = True,
) -> Path:
    """The folder in the cache that holds a version of a repository; its name is the commit.

    Args:
        repository: `owner/name`, or `owner/name@revision`.
        revision: See `located`; the one in the name goes before it.
        offline: See `located`.
        has_code: See `located`.
        has_names: Its weights are called as the libraries call a network's; those that are added to others are not.

    Raises:
        ModelUnavailableError: If it cannot be had.
    """
    from huggingface_hub import snapshot_download

    repository, _, pinned = repository.partition("@")
    revision = pinned or revision
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=(_LOADED + WANTED[1:] if has_names else WANTED) + (_CODE if has_code else []),
                local_files_only=offline,
                etag_timeout=_ETAG_TIMEOUT_S,
            )
        )
    except Exception as error:
        raise ModelUnavailableError(_said_by_hub(repository, revision, error)) from error


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error, and what caused it, the outermost first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _said_by_hub(repository: str, revision: str, error: Exception) -> str:
    """Why a repository cannot be had, and what to do; by the types of errors, since their texts change."""
    from huggingface_hub import constants, errors

    chain = tuple(causes_of(error))

    def is_any(*types: type[BaseException]) -> bool:
        return any(isinstance(each, types) for each in chain)

    page = f"{constants.ENDPOINT}/{repository}"
    if is_any(errors.GatedRepoError):
        return f"{repository} is gated: accept its terms at {page}, and give the account's token in HF_TOKEN"
    if is_any(errors.RevisionNotFoundError):
        return f"{repository} has no revision '{revision}': give a commit, tag or branch that {page} lists"
    if is_any(errors.RepositoryNotFoundError):
        return f"there is no repository {repository}, or it is private: check the name, or give a token in HF_TOKEN"
    if is_any(errors.HFValidationError):
        return f"'{repository}' is no repository: write it as owner/name"
    lacking = f"{repository} is not in the cache, and the hub"
    if status := next(filter(None, map(_status_of, chain)), 0):
        is_trouble = status == 429 or status >= 500
        todo = "try again later" if is_trouble else "give a token in HF_TOKEN that may read it"
        return f"{lacking} answered with HTTP {status}: {todo}, or copy its folder here and give its path"
    if is_any(errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        return (
            f"{lacking} was not asked or did not answer: run 'plantain models fetch {repository}' where there is a "
            "network, or copy its folder here and give its path"
        )
    return (
        f"the hub could not give {repository} ({sentence_of(error)}): try again later; "
        "on a machine without a network set HF_HUB_OFFLINE=1"
    )


def _status_of(error: BaseException) -> int:
    """Which HTTP status a hub refused with; 0 for errors of other kinds."""
    response = getattr(error, "response", None)
    return int(getattr(response, "status_code", 0))
