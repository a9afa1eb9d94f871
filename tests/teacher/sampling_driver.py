"""Fill a journal from endpoints, in a process that a test may kill at any moment.

python tests/teacher/sampling_driver.py '{"urls": [...], "journal": "...", "questions": 100}'
"""

import asyncio
import json
import sys
from dataclasses import dataclass

import uvloop

from hfdistill.sections import TeacherConfig
from hfdistill.teacher.budget import Budget
from hfdistill.teacher.endpoints import Endpoint, same_model
from hfdistill.teacher.journal import Journal
from hfdistill.teacher.plan import Grid, Plan
from hfdistill.teacher.protocols import Decoding
from hfdistill.teacher.sampler import Sampler
from hfdistill.teacher.session import prepare


GRID = Grid([0.0, 0.1, 0.2, 0.3], 5, [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], 5)


@dataclass(frozen=True)
class Question:
    question_id: str
    question: str
    split: str = "train"


def make_plan(count: int, grid: Grid = GRID) -> Plan:
    questions = [Question(f"q{index:05d}", f"What is {index} + 1 ?") for index in range(count)]
    return Plan(questions, lambda question: f"Q: {question.question}\nA:", grid)


async def fill(urls, journal, plan, timeout=20.0, tries=1000, patience=300.0, wait=(0.02, 0.2), **options):
    endpoints = [Endpoint(url, Decoding(64, ("\nQ:",)), timeout=timeout) for url in urls]
    try:
        await prepare(endpoints, patience)
        journal.claim(same_model({e.url: e.identity for e in endpoints if e.identity}))
        budget = options.pop("budget", None) or Budget(journal, TeacherConfig(""), len(urls))
        sampler = Sampler(endpoints, journal, budget, tries=tries, patience=patience, wait=wait, **options)
        return await sampler.run(plan)
    finally:
        await asyncio.gather(*(endpoint.close() for endpoint in endpoints))


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    plan = make_plan(settings.pop("questions"))
    with Journal(settings.pop("journal")) as journal:
        print("sampling", flush=True)
        outcome = uvloop.run(fill(settings.pop("urls"), journal, plan, **settings))
        print(json.dumps({"asked": outcome.asked, "missing": outcome.missing, "stopped": outcome.stopped}))
