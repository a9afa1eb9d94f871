"""What the client of Hugging Face Jobs talks to: its routes, in front of a Hub of this package.

A job is a record; it writes a line a moment, and ends when it is told to. Bodies are refused unless they have what the
service asks for.
"""

import json
import sys
import time

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Mount, Route

from hfdistill.servers.hub.app import create_app


KNOWN = {
    "command",
    "arguments",
    "environment",
    "secrets",
    "flavor",
    "timeoutSeconds",
    "labels",
    "volumes",
    "dockerImage",
}
JOBS: dict[str, dict] = {}


def shown(job: dict) -> dict:
    """A job as the service shows it: the names of its secrets, never their values."""
    return {**job, "secrets": sorted(job["secrets"])}


async def start(request: Request) -> JSONResponse:
    body, namespace = await request.json(), request.path_params["namespace"]
    if unknown := body.keys() - KNOWN:
        return JSONResponse({"error": f"unknown fields {sorted(unknown)}"}, 400)
    if body["flavor"] == "no-such-flavor":
        return JSONResponse({"error": "Invalid flavor"}, 400)
    number = f"{len(JOBS):024x}"
    JOBS[number] = {
        "id": number,
        "createdAt": "2026-11-01T00:00:00.000Z",
        "owner": {"id": "1", "name": namespace, "type": "user"},
        "status": {"stage": "RUNNING", "message": None},
        **body,
    }
    return JSONResponse(shown(JOBS[number]))


async def listed(request: Request) -> JSONResponse:
    stages = request.query_params.getlist("stage")
    labels = dict(label.split("=") for label in request.query_params.getlist("label"))
    found = [
        job for job in JOBS.values() if job["status"]["stage"] in stages and job["labels"].items() >= labels.items()
    ]
    return JSONResponse([shown(job) for job in found])


async def inspect(request: Request) -> JSONResponse:
    job = JOBS.get(request.path_params["id"])
    return JSONResponse(shown(job)) if job else JSONResponse({"error": "Job not found"}, 404)


def logs(request: Request) -> StreamingResponse:
    job = JOBS[request.path_params["id"]]

    def events():
        count = 0
        while job["status"]["stage"] == "RUNNING":
            event = {"data": f"line {count}", "timestamp": "2026-11-01T00:00:00.000Z"}
            yield f"data: {json.dumps(event)}\n\n"
            count += 1
            time.sleep(0.1)

    return StreamingResponse(events(), media_type="text/event-stream")


async def end(request: Request) -> JSONResponse:
    """For tests: how the newest job ends, and everything that was asked for."""
    if JOBS and (stage := request.query_params.get("stage")):
        list(JOBS.values())[-1]["status"] = {"stage": stage, "message": "out of memory" if stage == "ERROR" else None}
    return JSONResponse(list(JOBS.values()))


def main() -> None:
    data, port = sys.argv[1], int(sys.argv[2])
    jobs = "/api/jobs/{namespace}"
    routes = [
        Route(jobs, start, methods=["POST"]),
        Route(jobs, listed),
        Route(jobs + "/{id}", inspect),
        Route(jobs + "/{id}/logs", logs),
        Route("/end", end, methods=["POST"]),
        Mount("/", create_app(data, access_log=False)),
    ]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    main()
