"""Gemini's batch mode: half the price, an answer within hours. All that is asked and answered is in a folder.

    wanted/KEY.json     a request that nobody has answered yet
    answers/KEY.json    its answer, or why there is none
    batches.json        what was sent, before it is sent: a run that is killed sends nothing twice

A key is a digest of the request, so that the same question about the same picture is asked once.

The API, under `{base}/{version}`: `POST models/{id}:batchGenerateContent` with `{"batch": {"displayName",
"inputConfig": {"requests": {"requests": [{"request", "metadata": {"key"}}]}}}}` gives `{"name": "batches/N"}`;
`GET batches/N` says how it stands, and gives the answers in order; `GET batches` lists what was sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plantain.operators.errors import ModelError
from plantain.operators.models.hosted.api import Api

# A batch whose requests are part of the call may have 20 MB.
MAX_BYTES = 15_000_000
_ENDED_BADLY = ("FAILED", "CANCELLED", "EXPIRED")


@dataclass(slots=True)
class Batch:
    """A batch that was sent, or is being sent.

    Attributes:
        title: By which it is found again.
        keys: Its requests, in order.
        name: That the server gave it; empty until then.
        is_done: Its answers are here.
    """

    title: str
    keys: list[str]
    name: str = ""
    is_done: bool = False


class Store:
    """The folder.

    Args:
        folder: Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for part in ("wanted", "answers"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    def reply_to(self, request: dict[str, Any]) -> Any:
        """What a request was answered with.

        Raises:
            ModelError: If it was not, which is noted, or with why not.
        """
        text = json.dumps(request, sort_keys=True)
        key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        answer = self._folder / "answers" / f"{key}.json"
        if not answer.exists():
            self._write(self._folder / "wanted" / f"{key}.json", text)
            raise ModelError("not answered yet: the batch is still to come")
        told = json.loads(answer.read_text(encoding="utf-8"))
        if "error" in told:
            raise ModelError(f"refused in the batch ({told['error']})")
        return told["response"]

    def wanted(self) -> list[str]:
        """Keys of the requests that are neither answered nor out."""
        out = {key for batch in self.batches() for key in batch.keys}
        found = sorted(path.stem for path in (self._folder / "wanted").glob("*.json"))
        return [key for key in found if key not in out]

    def chunks(self) -> Iterator[list[str]]:
        """What is wanted, in parts that may be sent."""
        part: list[str] = []
        size = 0
        for key in self.wanted():
            more = (self._folder / "wanted" / f"{key}.json").stat().st_size + 100
            if part and size + more > MAX_BYTES:
                yield part
                part, size = [], 0
            part.append(key)
            size += more
        if part:
            yield part

    def request(self, key: str) -> Any:
        """What is asked."""
        return json.loads((self._folder / "wanted" / f"{key}.json").read_text(encoding="utf-8"))

    def answered(self, key: str, told: dict[str, Any]) -> None:
        """Keeps an answer: `{"response": ...}` or `{"error": code}`."""
        self._write(self._folder / "answers" / f"{key}.json", json.dumps(told))
        (self._folder / "wanted" / f"{key}.json").unlink(missing_ok=True)

    def batches(self) -> list[Batch]:
        """What was sent."""
        path = self._folder / "batches.json"
        return [Batch(**each) for each in json.loads(path.read_text())] if path.exists() else []

    def save(self, batches: list[Batch]) -> None:
        """Keeps what was sent."""
        self._write(self._folder / "batches.json", json.dumps([asdict(batch) for batch in batches]))

    @staticmethod
    def _write(path: Path, text: str) -> None:
        """All or nothing."""
        partial = path.with_suffix(".part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


class Batches:
    """Sends what is wanted, and takes what came.

    Args:
        api: Of Gemini.
        path: Of the API's version, such as `/v1`.
        model: As the API calls it.
        store: The folder.
    """

    def __init__(self, api: Api, path: str, model: str, store: Store) -> None:
        self._api, self._path, self._model, self._store = api, path, model, store

    def send(self) -> int:
        """Sends everything that is wanted; how many requests that was.

        Raises:
            ModelError: See `Api`; what was sent before stays so.
        """
        batches, sent = self._sent(), 0
        for keys in list(self._store.chunks()):
            title = "plantain-" + hashlib.blake2b("".join(keys).encode(), digest_size=8).hexdigest()
            batch = Batch(title, keys)
            batches.append(batch)
            self._store.save(batches)
            requests = [{"request": self._store.request(key), "metadata": {"key": key}} for key in keys]
            body = {"batch": {"displayName": title, "inputConfig": {"requests": {"requests": requests}}}}
            told = self._api.post(f"{self._path}/models/{self._model}:batchGenerateContent", json=body)
            batch.name = _name_of(told)
            self._store.save(batches)
            sent += len(keys)
        return sent

    def take(self) -> int:
        """Takes the answers of all batches that are done; how many batches are still out.

        Raises:
            ModelError: See `Api`.
        """
        batches, out = self._sent(), 0
        for batch in batches:
            if batch.is_done:
                continue
            told = self._api.get(f"{self._path}/{batch.name}")
            state = str((told.get("metadata") or {}).get("state") or told.get("state") or "")
            if state.endswith(_ENDED_BADLY):
                for key in batch.keys:
                    self._store.answered(key, {"error": state})
            elif told.get("done") or state.endswith("SUCCEEDED"):
                self._keep(batch, told)
            else:
                out += 1
                continue
            batch.is_done = True
            self._store.save(batches)
        return out

    def _keep(self, batch: Batch, told: Any) -> None:
        """The answers of a batch: in the order of its requests, each with its key where the server gives it back."""
        answers = _answers_of(told)
        if len(answers) != len(batch.keys):
            code = (told.get("error") or {}).get("code", "no code")
            if answers:
                raise ModelError(
                    f"{batch.name} has {len(answers)} answers to {len(batch.keys)} requests: ask its makers"
                )
            answers = [{"error": {"code": code}} for _ in batch.keys]
        for key, answer in zip(batch.keys, answers, strict=True):
            given = (answer.get("metadata") or {}).get("key") or key
            if "response" in answer:
                self._store.answered(str(given), {"response": answer["response"]})
            else:
                error = answer.get("error") or {}
                self._store.answered(
                    str(given), {"error": str(error.get("status") or error.get("code") or "no reason")}
                )

    def _sent(self) -> list[Batch]:
        """What was sent; where a run ended before it heard of it, it is looked for."""
        noted = self._store.batches()
        for batch in noted:
            if not batch.name:
                batch.name = self._found(batch.title)
        known = [batch for batch in noted if batch.name]
        self._store.save(known)
        return known

    def _found(self, title: str) -> str:
        """The name of a batch that was sent under a title; empty if it was not."""
        told = self._api.get(f"{self._path}/batches?pageSize=1000")
        for each in told.get("operations") or told.get("batches") or []:
            known = (each.get("metadata") or {}).get("displayName") or each.get("displayName")
            if known == title:
                return _name_of(each)
        return ""


def _name_of(told: Any) -> str:
    name = told.get("name") if isinstance(told, dict) else None
    if not isinstance(name, str) or not name.startswith("batches/"):
        raise ModelError("the server gives the batch no name: it speaks another API")
    return name


def _answers_of(told: Any) -> list[Any]:
    """The answers, wherever the version of the API puts them."""
    for place in (told.get("response"), (told.get("metadata") or {}).get("output"), told.get("dest")):
        found = place.get("inlinedResponses") if isinstance(place, dict) else None
        if isinstance(found, dict):
            found = found.get("inlinedResponses")
        if isinstance(found, list):
            return found
    return []
