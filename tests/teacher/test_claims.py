"""Claims on a real Hub: of all who want the same responses one has them at a time."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from hfdistill.errors import HFDistillError
from hfdistill.teacher.claims import BRANCH, AskingClaim, ClaimLost


ROOT = Path(__file__).parents[2]
SERVE = "import sys; from hfdistill.servers.hub.app import serve; serve('127.0.0.1', 0, sys.argv[1], access_log=False)"
DATASET = "tester/claimed"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    data = tmp_path_factory.mktemp("hub")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    hub = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(data)], env=environment, stdout=subprocess.PIPE, text=True
    )
    api = HfApi(endpoint=hub.stdout.readline().strip().rpartition("HF_ENDPOINT=")[2], token=False)
    api.create_repo(DATASET, repo_type="dataset")
    yield api
    hub.terminate()
    hub.wait(timeout=40)


@pytest.fixture
def claim(api, request):
    """Claims of a folder of the test's own."""

    def make(who, shard=None, seconds=600.0):
        return AskingClaim(api, DATASET, f"partial/{request.node.name.partition('[')[0]}", who, shard, seconds)

    return make


def test_a_second_one_is_refused_until_the_first_has_ended(claim):
    first, second = claim("a1"), claim("b2")
    first.take()
    with pytest.raises(HFDistillError, match=r"another process asks .* \(claim a1\): .*--shard 1/2.*--take_over true"):
        second.take()
    first.take()  # the same process, started again
    first.renew()
    first.release()
    second.take()


def test_a_lost_one_ends_by_itself_and_is_told_when_it_is_back(claim):
    lost, second = claim("a1", seconds=-5.0), claim("b2")
    lost.take()
    second.take()
    with pytest.raises(ClaimLost, match="has taken over"):
        lost.renew()
    lost.release()
    second.renew()


def test_it_can_be_taken_over_at_once(claim):
    claim("a1").take()
    claim("b2").take(take_over=True)
    with pytest.raises(ClaimLost):
        claim("a1").renew()


@pytest.mark.parametrize(
    ("shard", "free"), [("1/3", False), ("2/3", True), ("1/2", False), ("2/4", False), (None, False)]
)
def test_other_shards_of_as_many_are_free(claim, shard, free):
    first, second = claim("a1", "1/3"), claim("b2", shard)
    first.take()
    if free:
        second.take()
        second.release()
    else:
        with pytest.raises(HFDistillError, match="shard 1/3"):
            second.take()
    first.release()


def test_of_several_at_the_same_moment_one_has_it(claim):
    outcomes = []

    def take(who):
        try:
            claim(who).take()
            outcomes.append(who)
        except HFDistillError:
            outcomes.append(None)

    threads = [threading.Thread(target=take, args=(f"who{place}",)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 4 and sum(who is not None for who in outcomes) == 1


def test_who_it_was_is_no_machine(api, claim):
    claim("a1").take()
    file = next(f for f in api.list_repo_files(DATASET, repo_type="dataset", revision=BRANCH) if "no_machine" in f)
    told = Path(api.hf_hub_download(DATASET, file, repo_type="dataset", revision=BRANCH)).read_text()
    assert os.uname().nodename not in told and "/" not in told


def test_a_dataset_published_meanwhile_ends_it(api, claim):
    one = claim("a1")
    one.take()
    api.delete_branch(DATASET, branch=BRANCH, repo_type="dataset")
    with pytest.raises(ClaimLost, match="was published meanwhile"):
        one.renew()
