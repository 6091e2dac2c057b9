"""What is recorded in MLflow; what it does not take is kept in a file and recorded later.

A store can fail in the middle of a night of training: a server stops, a disk is full. Then every
call is written as a line of JSON to `mlflow.jsonl` in the directory of the run, and the run goes
on. The calls are made again when the next stage starts, at the end, and by the same command.
"""

import contextlib
import json
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.system.files import write_atomic
from pipeline.tracking import store

FILE = "mlflow.jsonl"
LATER = "later-"  # begins the id of a run that has not been made in MLflow yet
FILES = ("file", "text")  # calls that go to where artifacts are kept, which may fail alone
# MLflow has answered: the same call would be refused again
REFUSALS = (
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
)
Call = dict[str, Any]
log = logging.getLogger("flopsmith")


class Journal:
    """Makes calls to MLflow, or keeps them until it can be reached again."""

    def __init__(self, client: MlflowClient, path: Path | None = None) -> None:
        """Args: where to record, and the file for what cannot be recorded now; None: nowhere."""
        self._client, self._path = client, path
        self._made: dict[str, str] = {}  # ids of runs that were made later than asked for
        self._failed: set[bool] = set()  # whether calls with files fail, and others
        self._refused: set[str] = set()  # ids of runs that MLflow does not make
        self._told: set[str] = set()
        self._batch: Call | None = None  # what the calls of `batched` add up to

    @property
    def waiting(self) -> Path | None:
        """The file of calls that are still to be made, if there are any."""
        return self._path if self._path is not None and self._path.exists() else None

    def create(
        self, experiment_id: str, name: str, tags: Mapping[str, str], start_time: int
    ) -> str:
        """Make a run; returns its id, which is good for later calls in any case."""
        run_id = f"{LATER}{uuid.uuid4().hex}"
        given = {"experiment_id": experiment_id, "run_name": name, "tags": dict(tags)}
        self._record({"call": "create", "run_id": run_id, "start_time": start_time, **given})
        return self._made.get(run_id, run_id)

    def log(
        self,
        run_id: str,
        params: Mapping[str, str] | None = None,
        points: Sequence[tuple[str, float, int, int]] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Record settings, points (name, value, milliseconds, step) and tags of a run.

        MLflow's client divides what is too much for one call of its own.
        """
        call = {"call": "log", "run_id": run_id, "params": params, "points": points, "tags": tags}
        if self._batch is None or self._batch["run_id"] != run_id:
            self._record(call)
            return
        self._batch["params"] |= params or {}
        self._batch["points"] += points
        self._batch["tags"] |= tags or {}

    @contextlib.contextmanager
    def batched(self, run_id: str) -> Iterator[None]:
        """Make one call of all settings, points and tags that are recorded of a run inside."""
        self._batch = {"call": "log", "run_id": run_id, "params": {}, "points": [], "tags": {}}
        try:
            yield
        finally:
            batch, self._batch = self._batch, None
            self._record(batch)

    def data(self, run_id: str, name: str, digest: str, profile: Mapping[str, int]) -> None:
        """Record the data set that a run learns from; MLflow keeps no image of it."""
        self._record(
            {"call": "data", "run_id": run_id, "name": name, "digest": digest, "profile": profile}
        )

    def file(self, run_id: str, path: Path, folder: str | None) -> None:
        """Keep a copy of a file with a run."""
        self._record(
            {"call": "file", "run_id": run_id, "path": str(path.resolve()), "folder": folder}
        )

    def text(self, run_id: str, content: str, name: str) -> None:
        """Keep text as a file with a run."""
        self._record({"call": "text", "run_id": run_id, "content": content, "name": name})

    def status(self, run_id: str, status: str) -> None:
        """Say that a run is RUNNING (again), FINISHED, FAILED or KILLED."""
        self._record({"call": "status", "run_id": run_id, "status": status})

    def real(self, run_id: str) -> str | None:
        """The id of a run in MLflow; None while it has not been made."""
        run_id = self._made.get(run_id, run_id)
        return None if run_id.startswith(LATER) else run_id

    def catch_up(self) -> bool:
        """Make the calls that are waiting; whether none is left."""
        path = self.waiting
        if path is None:
            return True
        calls = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        created = {call["run_id"] for call in calls if call["call"] == "create"}
        self._failed.clear()
        left, done = list[Call](), 0
        try:
            with store.quick():
                for call in calls:
                    lost = call["run_id"].startswith(LATER) and call["run_id"] not in created
                    if not lost and not self._do(call):
                        left.append(call)
                    done += 1
        finally:  # Ctrl-C in between loses no call and repeats none
            path.unlink()
            self._keep(left + calls[done:])
        if not left:
            log.info("MLflow has now recorded what it had missed")
        return not left

    def _record(self, call: Call) -> None:
        if call["run_id"] not in self._refused and not self._do(call):
            self._keep([call])

    def _do(self, call: Call) -> bool:
        """Make a call, unless such calls fail at present; whether it is done with."""
        is_file = call["call"] in FILES
        if False in self._failed or is_file in self._failed or not self._ready(call):
            return False
        try:
            self._send(call)
        # Databases, servers and stores of artifacts raise errors of libraries of their own; none
        # of them may end a run whose results are on disk.
        except Exception as error:  # noqa: BLE001
            why = store.reason(error)
            if isinstance(error, MlflowException) and error.error_code in REFUSALS:
                self._tell(f"MLflow refuses a part of this run, which goes on without it: {why}")
                self._refused |= {call["run_id"]} if call["call"] == "create" else set()
                return True
            self._failed.add(is_file)
            kept = "is lost" if self._path is None else f"is kept in {self._path}"
            self._tell(
                f"MLflow does not record this run at present ({why}). The run goes on; what MLflow "
                f"misses {kept} until it is back, and the same command records it"
            )
            return False
        return True

    def _tell(self, text: str) -> None:
        """Warn, once for each reason."""
        if text not in self._told:
            self._told.add(text)
            log.warning("%s", text)

    def _ready(self, call: Call) -> bool:
        """Whether the run that a call is about is known to MLflow."""
        if call["call"] == "create":
            parents = [v for v in call["tags"].values() if v.startswith(LATER)]
            return all(self.real(one) for one in parents)
        return self.real(call["run_id"]) is not None

    def _keep(self, calls: Sequence[Call]) -> None:
        """Write calls to the file, with the ids that their runs have in MLflow by now."""
        if self._path is None or not calls:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            for call in calls:
                known = {**call, "run_id": self.real(call["run_id"]) or call["run_id"]}
                if call["call"] == "create":
                    known["tags"] = self._with_real_ids(call["tags"])
                file.write(json.dumps(known) + "\n")

    def _with_real_ids(self, tags: Mapping[str, str]) -> dict[str, str]:
        return {key: self.real(value) or value for key, value in tags.items()}

    def _send(self, call: Call) -> None:
        client, run_id = self._client, str(self.real(call["run_id"]))
        match call["call"]:
            case "create":
                tags = self._with_real_ids(call["tags"])
                made = client.create_run(
                    call["experiment_id"], call["start_time"], tags, call["run_name"]
                )
                self._made[call["run_id"]] = made.info.run_id
            case "log":
                client.log_batch(
                    run_id,
                    [Metric(*point) for point in call["points"]],
                    [Param(*one) for one in (call["params"] or {}).items()],
                    [RunTag(*one) for one in (call["tags"] or {}).items()],
                )
            case "data":
                known = Dataset(
                    call["name"][:500],
                    call["digest"],
                    source_type="flopsmith",
                    source=json.dumps({"uri": call["name"]}),
                    profile=json.dumps(call["profile"]),
                )
                context = InputTag("mlflow.data.context", "training")
                client.log_inputs(run_id, [DatasetInput(known, [context])])
            case "file":
                if Path(call["path"]).exists():
                    client.log_artifact(run_id, call["path"], call["folder"])
                else:
                    self._tell(f"{call['path']} was moved before MLflow could keep a copy")
            case "text":
                client.log_text(run_id, call["content"], call["name"])
            case "status" if call["status"] == "RUNNING":
                client.update_run(run_id, "RUNNING")
            case "status":
                client.set_terminated(run_id, call["status"])


def set_aside(path: Path) -> None:
    """Keep the calls that a store has missed which the run is no longer recorded in."""
    kept = path.with_name(f"{path.stem}-of-an-earlier-store{path.suffix}")
    write_atomic(kept, path.read_bytes())
    path.unlink()
    log.warning("what an earlier MLflow store has missed of this run is kept in %s", kept)


def missed(place: Path) -> int:
    """How many records of the run of a directory MLflow has missed."""
    path = place / FILE
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def sync(place: Path) -> bool:
    """Record what MLflow has missed of the run of a directory; whether it has everything now.

    Raises:
        OutputError: MLflow's store cannot be used.
    """
    return Journal(store.open_client(), place / FILE).catch_up()
