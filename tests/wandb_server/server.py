"""What a stand-in for a Weights & Biases server remembers and answers, in memory, for one machine."""

import base64
import hashlib
import json
import math
import random
import struct
import threading
import time
from typing import Any
from urllib.parse import quote

from tests.wandb_server.graphql import RefusedError, connection
from tests.wandb_server.sweeps import Sweep

FEATURES = ("FILESTREAM_GZIP",)
HISTORY, EVENTS, SUMMARY, OUTPUT = (
    "wandb-history.jsonl",
    "wandb-events.jsonl",
    "wandb-summary.json",
    "output.log",
)


class Run:
    """A run, as its client told of it."""

    def __init__(self, identity: str, project: str, number: int) -> None:
        self.id, self.project, self.number = identity, project, number
        self.display_name = f"loop-run-{number}"
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.streams: dict[str, dict[int, str]] = {}
        self.point: dict[tuple[str, ...], Any] = {}
        self.state, self.stopped, self.starts = "pending", False, 0
        self.created = time.time()
        self.exit_code: int | None = None
        self.heartbeat: float | None = None
        self.tags: list[str] = []
        self.sweep: str | None = None
        self.group: str | None = None
        self.job_type: str | None = None
        self.host: str | None = None
        self.program: str | None = None
        self.notes: str | None = None
        self.commit: str | None = None
        self.upserts, self.posts = 0, 0

    def lines(self, name: str) -> list[str]:
        stream = self.streams.get(name, {})
        return [stream[number] for number in sorted(stream)]

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines(HISTORY)]

    def tail(self, name: str) -> str:
        return json.dumps(self.lines(name)[-1:])


class Server:
    """All projects, runs, sweeps and agents; every method is called with the lock held."""

    def __init__(self, entity: str, key: str, seed: int) -> None:
        self.entity, self.key, self.seed, self.url = entity, key, seed, ""
        self.lock = threading.RLock()
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, dict[str, Any]] = {}
        self.projects: dict[str, int] = {}
        self.problems: list[str] = []
        self.refused: list[str] = []
        self.is_away = False
        self.forced: list[dict[str, Any]] = []

    # -- GraphQL's two roots

    def root(self) -> dict[str, Any]:
        return {
            "viewer": self.viewer(),
            "serverInfo": {
                "features": [{"name": name, "isEnabled": True} for name in FEATURES],
                "cliVersionInfo": {"max_cli_version": "999.0.0", "min_cli_version": "0.0.1"},
                "latestLocalVersionInfo": None,
            },
            "project": lambda name=None, entityName=None: self.project(name, entityName),
            "model": lambda name=None, entityName=None: self.project(name, entityName),
            "entity": lambda name=None: self.entity_node() if name == self.entity else None,
            "models": lambda entityName=None, first=None, after=None: connection(
                [self.project(name, entityName) for name in self.projects], first, after
            ),
            "organization": lambda name=None: None,
            "upsertBucket": self.upsert_bucket,
            "upsertModel": self.upsert_model,
            "upsertSweep": self.upsert_sweep,
            "createAgent": self.create_agent,
            "agentHeartbeat": self.heartbeat,
            "createRunFiles": self.create_run_files,
            "markRunFilesUploaded": lambda input: {"success": True},
            "stopRun": self.stop_run,
        }

    def viewer(self) -> dict[str, Any]:
        teams = connection([{"name": self.entity}])
        return {
            "id": "VXNlcjox",
            "entity": self.entity,
            "username": self.entity,
            "name": self.entity,
            "email": f"{self.entity}@example.org",
            "flags": "{}",
            "admin": False,
            "teams": teams,
            "deletedAt": None,
            "apiKeys": connection([]),
            "__typename": "User",
        }

    def entity_node(self) -> dict[str, Any]:
        return {"id": "RW50aXR5OjE=", "name": self.entity, "organization": None}

    def check_entity(self, name: str | None, during: str) -> None:
        if name not in (None, "", self.entity):
            raise RefusedError(404, f"entity {name} not found during {during}")

    def project_number(self, name: str) -> str:
        return str(self.projects.setdefault(name, len(self.projects) + 1))

    def project(self, name: Any, entity: str | None) -> dict[str, Any] | None:
        if entity not in (None, "", self.entity) or name not in self.projects:
            return None
        runs = [run for run in self.runs.values() if run.project == name]

        def chosen(filters: Any = None, order: Any = None) -> list[Run]:
            found = [run for run in runs if matches(run, json.loads(filters or "{}"))]
            field, reverse = (order or "+created_at")[1:], (order or "+").startswith("-")
            if field.startswith("summary_metrics."):
                key = field.removeprefix("summary_metrics.").removesuffix(".value")
                found = [run for run in found if isinstance(run.summary.get(key), (int, float))]
                return sorted(found, key=lambda run: run.summary[key], reverse=reverse)
            return sorted(found, key=lambda run: run.created, reverse=reverse)

        return {
            "id": storage_id("Project", name),
            "internalId": self.project_number(name),
            "name": name,
            "readOnly": False,
            "entityName": self.entity,
            "entity": self.entity_node(),
            "createdAt": stamp(0),
            "isBenchmark": False,
            "user": self.viewer(),
            "description": "",
            "access": "PRIVATE",
            "views": "{}",
            "runCount": lambda filters=None: len(chosen(filters)),
            "runs": lambda filters=None, order=None, first=None, after=None: connection(
                [self.run_node(run) for run in chosen(filters, order)], first, after
            ),
            "run": lambda name=None: self.run_node(self.runs.get(name)),
            "bucket": lambda name=None, missingOk=None: self.run_node(self.runs.get(name)),
            "sweep": lambda sweepName=None: self.sweep_node(self.sweeps.get(sweepName)),
            "totalSweeps": len([one for one in self.sweeps.values() if one.project == name]),
            "sweeps": lambda first=None, after=None, filters=None: connection(
                [self.sweep_node(one) for one in self.sweeps.values() if one.project == name], first, after
            ),
        }

    def run_node(self, run: Run | None) -> Any:
        if run is None:
            return None
        keys = sorted({key for row in run.rows() for key in row})
        return {
            "__typename": "Run",
            "id": storage_id("Run", run.id),
            "name": run.id,
            "displayName": run.display_name,
            "description": None,
            "notes": run.notes,
            "config": json.dumps(run.config),
            "summaryMetrics": json.dumps(run.summary),
            "systemMetrics": run.lines(EVENTS)[-1] if run.lines(EVENTS) else "{}",
            "state": run.state,
            "group": run.group,
            "groupName": run.group,
            "jobType": run.job_type,
            "commit": run.commit,
            "readOnly": False,
            "createdAt": stamp(run.created),
            "heartbeatAt": stamp(run.heartbeat),
            "sweepName": run.sweep,
            "tags": run.tags,
            "host": run.host,
            "user": self.viewer(),
            "projectId": self.project_number(run.project),
            "exitcode": run.exit_code,
            "historyKeys": {"lastStep": len(run.rows()) - 1, "keys": dict.fromkeys(keys)},
            "shouldStop": run.stopped,
            "stopped": run.stopped,
            "failed": run.state == "failed",
            "running": run.state == "running",
            "logLineCount": len(run.streams.get(OUTPUT, {})),
            "historyLineCount": len(run.streams.get(HISTORY, {})),
            "eventsLineCount": len(run.streams.get(EVENTS, {})),
            "historyTail": run.tail(HISTORY),
            "eventsTail": run.tail(EVENTS),
            "wandbConfig": lambda keys=None: json.dumps(
                {
                    key: run.config["_wandb"]["value"][key]
                    for key in keys or ()
                    if key in run.config.get("_wandb", {}).get("value", {})
                }
            ),
            # GraphQL takes one value for a list of one.
            "sampledHistory": lambda specs=(): [
                self.sampled(run, json.loads(one)) for one in ([specs] if isinstance(specs, str) else specs)
            ],
            "history": lambda minStep=0, maxStep=None, samples=None: [
                line
                for line in run.lines(HISTORY)
                if minStep <= json.loads(line)["_step"] < (maxStep or math.inf)
            ],
            "parquetHistory": lambda liveKeys=None: {"parquetUrls": [], "liveData": run.rows()},
            "files": lambda names=None, first=None, after=None, pattern=None, **_: connection(
                [self.file_node(run, name) for name in run.files if not names or name in names], first, after
            ),
            "fileCount": len(run.files),
            "project": lambda: self.project(run.project, None),
        }

    @staticmethod
    def sampled(run: Run, spec: dict[str, Any]) -> list[dict[str, Any]]:
        keys = [key for key in spec.get("keys", ()) if key]
        return [{key: row[key] for key in keys} for row in run.rows() if all(key in row for key in keys)]

    def file_node(self, run: Run, name: str) -> dict[str, Any]:
        one = run.files[name]
        url = f"{self.url}/_storage/{quote(run.project)}/{run.id}/{quote(name)}"
        return {
            "id": name,
            "name": name,
            "url": url,
            "directUrl": url,
            "sizeBytes": one["bytes"],
            "md5": one["sha256"],
            "mimetype": None,
            "updatedAt": stamp(0),
            "uploadUrl": url,
        }

    def sweep_node(self, sweep: Sweep | None) -> dict[str, Any] | None:
        if sweep is None:
            return None
        name, _ = sweep.metric()
        best = sweep.best()
        agents = [agent for agent in self.agents.values() if agent["sweep"] == sweep.id]
        return {
            "__typename": "Sweep",
            "id": storage_id("Sweep", sweep.id),
            "name": sweep.id,
            "displayName": sweep.config.get("name"),
            "method": sweep.config["method"],
            "state": sweep.state,
            "description": sweep.config.get("description"),
            "config": sweep.text,
            "createdAt": stamp(sweep.created),
            "updatedAt": stamp(sweep.created),
            "heartbeatAt": None,
            "bestLoss": best and best.summary[name],
            "earlyStopJobRunning": False,
            "controller": None,
            "scheduler": None,
            "runCount": len(sweep.runs),
            "runCountExpected": sweep.config.get("run_cap"),
            "controllerRunName": None,
            "project": lambda: self.project(sweep.project, None),
            "runs": lambda first=None, after=None, filters=None: connection(
                [self.run_node(run) for run in sweep.runs], first, after
            ),
            "agents": connection([self.agent_node(agent) for agent in agents]),
            "agent": lambda agentName=None: next(
                (self.agent_node(agent) for agent in agents if agentName in (agent["id"], agent["name"])),
                None,
            ),
        }

    def agent_node(self, agent: dict[str, Any]) -> dict[str, Any]:
        runs = [self.run_node(self.runs[one]) for one in agent["runs"]]
        return {
            "id": agent["id"],
            "name": agent["name"],
            "host": agent["host"],
            "state": agent["state"],
            "totalRuns": len(runs),
            "createdAt": stamp(agent["created"]),
            "heartbeatAt": stamp(agent["beat"]),
            "runs": lambda **_: connection(runs),
        }

    # -- mutations

    def upsert_model(self, input: dict[str, Any]) -> dict[str, Any]:
        self.check_entity(input.get("entityName"), "upsertModel")
        name = str(input["name"])
        inserted = name not in self.projects
        self.project_number(name)
        project = self.project(name, None)
        return {"project": project, "model": project, "inserted": inserted}

    def upsert_bucket(self, input: dict[str, Any]) -> dict[str, Any]:
        self.check_entity(input.get("entityName"), "upsertBucket")
        project = input.get("modelName") or "uncategorized"
        self.project_number(project)
        named = input.get("name") or from_storage_id(input.get("id"))
        run = self.runs.get(named or "")
        inserted = run is None
        if run is None:
            run = self.new_run(named or random_id(), project)
        run.upserts += 1
        if run.state != "running" and input.get("state") is None:
            run.starts += run.state != "running"
            run.state, run.exit_code = "running", None
        run.heartbeat = time.time()
        for key, field in (
            ("displayName", "display_name"),
            ("groupName", "group"),
            ("jobType", "job_type"),
            ("host", "host"),
            ("jobProgram", "program"),
            ("notes", "notes"),
            ("commit", "commit"),
            ("tags", "tags"),
            ("state", "state"),
        ):
            if input.get(key) is not None:
                setattr(run, field, input[key])
        if input.get("sweep"):
            if input["sweep"] not in self.sweeps:
                raise RefusedError(404, f"could not find sweep {input['sweep']} during upsertBucket")
            run.sweep = input["sweep"]
        if input.get("config"):
            run.config = json.loads(input["config"])
        if input.get("summaryMetrics"):
            run.summary |= json.loads(input["summaryMetrics"])
        node = {**self.run_node(run), "project": self.project(project, None)}
        return {"bucket": node, "inserted": inserted}

    def new_run(self, identity: str, project: str) -> Run:
        run = self.runs[identity] = Run(identity, project, len(self.runs) + 1)
        return run

    def upsert_sweep(self, input: dict[str, Any]) -> dict[str, Any]:
        self.check_entity(input.get("entityName"), "upsertSweep")
        sweep = self.sweeps.get(from_storage_id(input.get("id")) or "")
        if sweep is None:
            project = input.get("projectName") or "uncategorized"
            self.project_number(project)
            sweep = Sweep(random_id(), project, input.get("config") or "", self.seed)
            self.sweeps[sweep.id] = sweep
            sweep.forced, self.forced = self.forced, []
        elif input.get("config"):
            sweep.update(input["config"])
        if input.get("state"):
            self.set_sweep_state(sweep, input["state"])
        return {"sweep": self.sweep_node(sweep), "configValidationWarnings": []}

    def set_sweep_state(self, sweep: Sweep, state: str) -> None:
        sweep.state = state
        if state == "CANCELED":
            sweep.stopping |= {run.id for run in sweep.runs if run.state in ("pending", "running")}

    def create_agent(self, input: dict[str, Any]) -> dict[str, Any]:
        self.check_entity(input.get("entityName"), "createAgent")
        sweep = self.sweeps.get(str(input.get("sweep")))
        if sweep is None or input.get("projectName") not in (None, "", sweep.project):
            raise RefusedError(404, f"could not find sweep {input.get('sweep')} during createAgent")
        if sweep.state in ("FINISHED", "CANCELED", "CRASHED", "FAILED"):
            raise RefusedError(400, f"Sweep {sweep.id} is not running")
        if sweep.state == "PENDING":
            sweep.state = "RUNNING"
        name = random_id()
        agent: dict[str, Any] = {
            "id": storage_id("Agent", name),
            "name": name,
            "host": input.get("host"),
            "sweep": sweep.id,
            "runs": [],
            "beats": 0,
            "told": [],
            "created": time.time(),
            "beat": None,
            "state": "RUNNING",
        }
        self.agents[agent["id"]] = agent
        return {"agent": self.agent_node(agent)}

    def heartbeat(self, input: dict[str, Any]) -> dict[str, Any]:
        agent = self.agents.get(str(input.get("id")), {})
        sweep = self.sweeps.get(agent.get("sweep", ""))
        if sweep is None:
            raise RefusedError(404, "agent not found during agentHeartbeat")
        agent["beats"] += 1
        agent["beat"] = time.time()
        at_work = set(json.loads(input.get("runState") or "{}"))
        commands = self.commands(agent, sweep, at_work)
        agent["told"] += [command["type"] for command in commands]
        if "exit" in [command["type"] for command in commands]:
            agent["state"] = "FINISHED"
        return {"agent": self.agent_node(agent), "commands": json.dumps(commands)}

    def commands(self, agent: dict[str, Any], sweep: Sweep, at_work: set[str]) -> list[dict[str, Any]]:
        stops = [one for one in agent["runs"] if one in at_work and one in sweep.stopping]
        if stops:
            for one in stops:
                self.runs[one].stopped = True
            return [{"type": "stop", "run_id": one} for one in stops]
        if sweep.state == "CANCELED":
            return [{"type": "exit"}]
        if at_work or sweep.state == "PAUSED":
            return []
        point = sweep.next_point() if sweep.state == "RUNNING" else None
        if point is None:
            if not any(run.state in ("pending", "running") for run in sweep.runs):
                sweep.state = "FINISHED"
            return [{"type": "exit"}]
        run = self.new_run(random_id(), sweep.project)
        run.sweep, run.point, run.display_name = sweep.id, point, f"loop-sweep-{len(sweep.runs) + 1}"
        sweep.runs.append(run)
        agent["runs"].append(run.id)
        arguments: dict[str, Any] = {}
        for (first, *rest), value in point.items():
            target = arguments.setdefault(first, {"value": {} if rest else value})
            for i, part in enumerate(rest):
                last = i == len(rest) - 1
                target = target["value"] if i == 0 else target
                if last:
                    target[part] = value
                else:
                    target = target.setdefault(part, {})
        run.config = arguments
        program = sweep.config.get("program")
        return [{"type": "run", "run_id": run.id, "args": arguments, "program": program, "logs": []}]

    def create_run_files(self, input: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(input["runName"])
        if run is None:
            raise RefusedError(404, f"could not find run {input['runName']} during createRunFiles")
        base = f"{self.url}/_storage/{quote(run.project)}/{run.id}"
        files = [{"name": name, "uploadUrl": f"{base}/{quote(name)}"} for name in input["files"]]
        return {"runID": storage_id("Run", run.id), "uploadHeaders": [], "files": files}

    def stop_run(self, input: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(from_storage_id(input.get("id")) or "")
        if run is None:
            return {"success": False}
        run.stopped = True
        if run.sweep in self.sweeps:
            self.sweeps[run.sweep].stopping.add(run.id)
        return {"success": True}

    # -- the other two ways in

    def file_stream(self, identity: str, content: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(identity)
        if run is None:
            raise RefusedError(404, f"run {identity} not found")
        run.posts += 1
        run.heartbeat = time.time()
        for name, part in (content.get("files") or {}).items():
            stream = run.streams.setdefault(name, {})
            for number, line in enumerate(part["content"], part.get("offset", 0)):
                stream[number] = line
        if SUMMARY in (content.get("files") or {}):
            run.summary = json.loads(run.lines(SUMMARY)[-1])
        if content.get("complete"):
            run.exit_code = content.get("exitcode")
            run.state = "finished" if run.exit_code == 0 else ("killed" if run.stopped else "failed")
        if run.sweep in self.sweeps:
            self.sweeps[run.sweep].judge(run)
        return {"exitcode": None, "limits": {}, "stopped": run.stopped}

    def upload(self, identity: str, name: str, body: bytes) -> None:
        run = self.runs.get(identity)
        if run is None:
            raise RefusedError(404, f"run {identity} not found")
        one: dict[str, Any] = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        if body[:8] == b"\x89PNG\r\n\x1a\n":
            one["png"] = list(struct.unpack(">II", body[16:24]))
        elif len(body) < 200_000 and name.endswith((".json", ".yaml", ".txt", ".log")):
            one["text"] = body.decode("utf-8", "replace")
        run.files[name] = one


def matches(run: Run, condition: dict[str, Any]) -> bool:
    """Say whether a run meets a filter of the public Api: sweep, name, state and group by equality."""
    fields = {
        "sweep": run.sweep,
        "name": run.id,
        "state": run.state,
        "group": run.group,
        "display_name": run.display_name,
    }
    for key, value in condition.items():
        if key == "$and" and not all(matches(run, one) for one in value):
            return False
        if key == "$or" and value and not any(matches(run, one) for one in value):
            return False
        if key in fields and fields[key] != value:
            return False
    return True


def strict(value: Any) -> Any:
    """Return a value whose numbers JSON has: NaN and infinity become texts, as in real answers."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {key: strict(one) for key, one in value.items()}
    return [strict(one) for one in value] if isinstance(value, (list, tuple)) else value


def random_id() -> str:
    return "".join(random.SystemRandom().choices("abcdefghijklmnopqrstuvwxyz0123456789", k=8))


def storage_id(kind: str, name: str) -> str:
    return base64.b64encode(f"{kind}:v1:{name}".encode()).decode()


def from_storage_id(identity: Any) -> str | None:
    return base64.b64decode(identity).decode().rpartition(":")[2] if identity else None


def stamp(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
