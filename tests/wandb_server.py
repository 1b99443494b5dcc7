"""A stand-in for W&B's server on loopback, for ``wandb sweep``, ``wandb agent`` and runs that log.

It has never been compared with the service: it answers what W&B's client 0.31 asks for, so a test with it shows what we and
W&B's client send, not that the service takes it. The names of the operations are private to W&B's client.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

import yaml

KEY = "0123456789abcdef" * 2 + "01234567"
"""A key of the form that W&B's client takes."""


@dataclass
class Run:
    """What the server was told of a run."""

    id: str
    config: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    """The sweep's values, for a run that the server made for an agent."""
    fields: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    starts: int = 0
    """How many processes have begun with it."""
    exit_code: int | None = None
    preempting: bool = False

    @property
    def state(self) -> str:
        """As W&B's documentation has it: killed for 255, failed for other codes than 0."""
        if self.exit_code is None:
            return "running" if self.starts else "pending"
        return {0: "finished", 255: "killed"}.get(self.exit_code, "failed")

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for _, row in sorted(self.history.items())]


@dataclass
class Artifact:
    """What the server was told of a version of an artifact."""

    id: str
    name: str
    type: str
    digest: str
    state: str = "PENDING"
    files: dict[str, bytes] = field(default_factory=dict)
    manifest: bytes = b""
    made_by: list[str] = field(default_factory=list)
    used_by: list[str] = field(default_factory=list)


class Server:
    """The stand-in; a context that runs it in threads.

    Attributes:
        runs: by id.
        sweeps: configurations by name.
        artifacts: by id; equal ones are one.
        again: ids of runs that the next agent is to take up, as those that a preempted agent left.
        unknown: operations that it doesn't know.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.again: list[str] = []
        self.unknown: list[str] = []
        self.operations: list[str] = []
        self._lock = threading.RLock()
        self._agents = itertools.count()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    parts = []
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        parts.append(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                    body = b"".join(parts)
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                return body

            def _answer(self, content: Any, code: int = 200) -> None:
                data = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self) -> None:
                body = self._body()
                if self.path == "/graphql":
                    self._answer(outer.graphql(json.loads(body)))
                elif self.path.endswith("/file_stream"):
                    self._answer(outer.file_stream(self.path, json.loads(body)))
                else:
                    self._answer({})

            def do_PUT(self) -> None:
                body = self._body()
                _, kind, owner, name = unquote(self.path).split("/", 3)
                if kind == "storage":
                    outer.runs[owner].files.add(name)
                elif kind == "artifact":
                    outer.artifacts[owner].files[name] = body
                elif kind == "manifest":
                    outer.artifacts[owner].manifest = body
                self._answer({})

            def do_GET(self) -> None:
                self._answer({})

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that was killed has closed its connection."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Server:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    # What the client asks for

    def graphql(self, request: dict[str, Any]) -> dict[str, Any]:
        query, variables = request.get("query", ""), request.get("variables") or {}
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        name = found[1] if found else query[:60]
        with self._lock:
            self.operations.append(name)
            answer = getattr(self, f"_{name}", None)
            if answer is None:
                self.unknown.append(name)
                return {"data": {}}
            return {"data": answer(variables)}

    def _ServerFeaturesQuery(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _Viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "viewer": {
                "id": "VXNlcjox", "entity": "us", "username": "us", "name": "us", "email": "us@localhost", "admin": False,
                "flags": "{}", "teams": {"edges": []}, "apiKeys": {"edges": []}, "deletedAt": None,
            }
        }  # fmt: skip

    def _GetDefaultEntity(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "VXNlcjox", "entity": "us"}}

    def _ArtifactType(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables["name"].partition(":")[0]
        known = next((of for of in self.artifacts.values() if of.name == name), None)
        return {"project": {"artifact": None if known is None else {"artifactType": {"name": known.type}}}}

    def _UpsertSweep(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = f"sweep{len(self.sweeps)}"
        self.sweeps[name] = yaml.safe_load(variables["config"])
        entity = {"id": "e", "name": variables.get("entityName") or "us"}
        project = {"id": "p", "name": variables.get("projectName") or "project", "entity": entity}
        return {"upsertSweep": {"sweep": {"name": name, "project": project}, "configValidationWarnings": []}}

    def _SweepWithRuns(self, variables: dict[str, Any]) -> dict[str, Any]:
        config = self.sweeps.get(variables["sweep"])
        if config is None:
            return {"project": None}
        sweep = {
            "id": "s", "name": variables["sweep"], "method": config["method"], "state": "RUNNING", "description": None,
            "config": yaml.safe_dump(config), "createdAt": None, "heartbeatAt": None, "updatedAt": None,
            "earlyStopJobRunning": False, "bestLoss": None, "controller": None, "scheduler": None, "runs": {"edges": []},
        }  # fmt: skip
        return {"project": {"sweep": sweep}}

    def _CreateAgent(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": f"{variables['sweep']}/{next(self._agents)}"}}}

    def _Heartbeat(self, variables: dict[str, Any]) -> dict[str, Any]:
        sweep = variables["id"].split("/")[0]
        busy = any(json.loads(variables.get("runState") or "{}").values())
        commands = [] if busy else [self._next(sweep)]
        return {"agentHeartbeat": {"agent": {"id": variables["id"]}, "commands": json.dumps(commands)}}

    def _next(self, sweep: str) -> dict[str, Any]:
        config = self.sweeps[sweep]
        if self.again:
            run = self.runs[self.again.pop(0)]
            run.exit_code = None
            kind = "resume"
        else:
            # W&B's own grid goes through parameters by name.
            axes = {name: spec.get("values", [spec.get("value")]) for name, spec in sorted(config["parameters"].items())}
            done = [run.given for run in self.runs.values() if run.given]
            cells = (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
            cell = next((cell for cell in cells if cell not in done), None)
            if cell is None:
                return {"type": "exit"}
            run = self.runs[f"trial{len(self.runs)}"] = Run(f"trial{len(self.runs)}", given=cell)
            kind = "run"
        arguments = {name: {"value": value} for name, value in run.given.items()}
        return {"type": kind, "run_id": run.id, "args": arguments, "program": config.get("program"), "id": "c", "logs": []}

    def _RunResumeStatus(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(variables["name"], Run(variables["name"]))
        run.starts += 1
        project = {"id": "p", "name": variables.get("project"), "entity": {"id": "e", "name": "us"}}
        if run.starts == 1:
            return {"model": {"id": "p", "name": project["name"], "entity": project["entity"], "bucket": None}}
        lines = [json.dumps(row) for row in run.rows]
        bucket = {
            "id": run.id, "name": run.id, "historyLineCount": len(lines), "eventsLineCount": 0, "logLineCount": 0,
            "historyTail": json.dumps(lines[-1:]), "eventsTail": "[]", "summaryMetrics": json.dumps(run.summary),
            "displayName": run.fields.get("displayName"), "sweepName": run.fields.get("sweep"), "projectId": 1,
            "config": run.fields.get("config", "{}"), "tags": [], "notes": None, "wandbConfig": '{"t": {}}',
        }  # fmt: skip
        return {"model": {"id": "p", "name": project["name"], "entity": project["entity"], "bucket": bucket}}

    def _Run(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = self.runs[variables["name"]]
        told = {
            "id": run.id, "projectId": 1, "tags": [], "name": run.id, "displayName": run.fields.get("displayName"),
            "sweepName": None, "state": run.state, "config": run.fields.get("config", "{}"), "group": None, "jobType": None,
            "commit": None, "readOnly": False, "createdAt": "2026-01-01T00:00:00", "heartbeatAt": None, "description": None,
            "notes": None, "systemMetrics": "{}", "summaryMetrics": json.dumps(run.summary),
            "user": {"name": "us", "username": "us"},
            "historyLineCount": len(run.history), "historyKeys": None,
        }  # fmt: skip
        return {"project": {"internalId": "1", "run": told}}

    def _UpsertBucket(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(variables["name"], Run(variables["name"]))
        new = not run.fields
        run.fields |= {key: value for key, value in variables.items() if value is not None}
        if variables.get("config"):
            run.config = {key: item.get("value") for key, item in json.loads(variables["config"]).items()}
        run.exit_code = None
        entity = {"id": "e", "name": variables.get("entity") or "us"}
        project = {"id": "p", "name": variables.get("project") or "project", "entity": entity}
        bucket = {
            "id": run.id, "name": run.id, "displayName": variables.get("displayName") or run.id, "description": None,
            "config": "{}", "sweepName": variables.get("sweep"), "project": project, "historyLineCount": len(run.history),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": new}}

    def _CreateRunFiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        run = variables.get("runName") or variables.get("run")
        files = [{"name": name, "uploadUrl": f"{self.url}/storage/{run}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": files}}

    def _CreateArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        given = variables["input"]
        name, digest = given["artifactCollectionName"], given["digest"]
        known = [of for of in self.artifacts.values() if (of.name, of.digest) == (name, digest)]
        number = f"a{len(self.artifacts)}"
        artifact = known[0] if known else Artifact(number, name, given["artifactTypeName"], digest)
        self.artifacts[artifact.id] = artifact
        artifact.made_by += [given["runName"]] if given["runName"] else []  # of one that goes into a run nothing
        sequence = {"id": "q", "latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": artifact.id, "state": artifact.state, "artifactSequence": sequence}}}

    def _manifest(self, artifact: str) -> dict[str, Any]:
        file = {"id": "f", "uploadUrl": f"{self.url}/manifest/{artifact}/manifest", "uploadHeaders": []}
        return {"artifactManifest": {"id": artifact, "file": file}}

    def _CreateArtifactManifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"createArtifactManifest": self._manifest(variables["artifactID"])}

    def _UpdateArtifactManifest(self, variables: dict[str, Any]) -> dict[str, Any]:
        return {"updateArtifactManifest": self._manifest(variables["artifactManifestID"])}

    def _CreateArtifactFiles(self, variables: dict[str, Any]) -> dict[str, Any]:
        nodes = [
            {
                "storagePath": f"{of['artifactID']}/{of['name']}", "uploadUrl": self._upload(of["artifactID"], of["name"]),
                "uploadHeaders": [], "uploadMultipartUrls": None, "artifact": {"id": of["artifactID"]},
            }
            for of in variables["input"]["artifactFiles"]
        ]  # fmt: skip
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _upload(self, artifact: str, name: str) -> str:
        return f"{self.url}/artifact/{artifact}/{quote(name)}"

    def _CommitArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        artifact = self.artifacts[variables["artifactID"]]
        artifact.state = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}

    def _UseArtifact(self, variables: dict[str, Any]) -> dict[str, Any]:
        given = variables["input"]
        self.artifacts[given["artifactID"]].used_by.append(given["runName"])
        return {"useArtifact": {"artifact": {"id": given["artifactID"]}}}

    def file_stream(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.setdefault(path.split("/")[-2], Run(path.split("/")[-2]))
        with self._lock:
            for name, part in content.get("files", {}).items():
                lines = [json.loads(line) for line in part["content"]] if name.endswith((".jsonl", ".json")) else []
                if name == "wandb-history.jsonl":
                    run.history |= dict(enumerate(lines, part["offset"]))
                elif name == "wandb-summary.json" and lines:
                    run.summary = lines[-1]
            run.preempting |= bool(content.get("preempting"))
            if content.get("complete"):
                run.exit_code = content["exitcode"]
        return {}
