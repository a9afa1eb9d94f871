"""Whatever a client asks for that this Hub has not: it is told so, in words, and nothing that it sends is dropped."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from hfdistill.servers.hub.absent_routes import ABSENT, METHODS
from hfdistill.servers.hub.routing import PATTERNS


SPACE, OTHER, BUCKET = "lab/space", "lab/other", "lab/bucket"
JOB = {"job_id": "1", "namespace": "lab"}
SCHEDULED = {"scheduled_job_id": "1", "namespace": "lab"}
RUN = {"image": "x", "command": ["x"], "namespace": "lab"}
UV = "https://a/b.py"
# Methods of HfApi of the newest client that ask for what this Hub has not, and those that never ask it; all others are
# called somewhere in these tests.
ABSENT_CALLS: dict[str, Callable[[HfApi], object]] = {
    "add_space_secret": lambda api: api.add_space_secret(SPACE, "KEY", "value"),
    "add_space_variable": lambda api: api.add_space_variable(SPACE, "KEY", "value"),
    "batch_bucket_files": lambda api: api.batch_bucket_files(BUCKET, delete=["x"]),
    "bucket_info": lambda api: api.bucket_info(BUCKET),
    "cancel_job": lambda api: api.cancel_job(**JOB),
    "create_bucket": lambda api: api.create_bucket(BUCKET),
    "create_scheduled_job": lambda api: api.create_scheduled_job(schedule="@daily", **RUN),
    "create_scheduled_uv_job": lambda api: api.create_scheduled_uv_job(UV, schedule="@daily", namespace="lab"),
    "create_webhook": lambda api: api.create_webhook(url="http://a", watched=[]),
    "delete_bucket": lambda api: api.delete_bucket(BUCKET),
    "delete_scheduled_job": lambda api: api.delete_scheduled_job(**SCHEDULED),
    "delete_space_secret": lambda api: api.delete_space_secret(SPACE, "KEY"),
    "delete_space_variable": lambda api: api.delete_space_variable(SPACE, "KEY"),
    "delete_space_volumes": lambda api: api.delete_space_volumes(SPACE),
    "delete_webhook": lambda api: api.delete_webhook("1"),
    "disable_space_dev_mode": lambda api: api.disable_space_dev_mode(SPACE),
    "disable_webhook": lambda api: api.disable_webhook("1"),
    "download_bucket_files": lambda api: api.download_bucket_files(BUCKET, [("x", "y")]),
    "enable_space_dev_mode": lambda api: api.enable_space_dev_mode(SPACE),
    "enable_webhook": lambda api: api.enable_webhook("1"),
    "fetch_job_logs": lambda api: list(api.fetch_job_logs(**JOB)),
    "fetch_job_metrics": lambda api: list(api.fetch_job_metrics(**JOB)),
    "fetch_space_logs": lambda api: list(api.fetch_space_logs(SPACE)),
    "get_bucket_file_metadata": lambda api: api.get_bucket_file_metadata(BUCKET, "x"),
    "get_bucket_paths_info": lambda api: list(api.get_bucket_paths_info(BUCKET, ["x"])),
    "get_dataset_leaderboard": lambda api: api.get_dataset_leaderboard(OTHER),
    "get_dataset_tags": lambda api: api.get_dataset_tags(),
    "get_model_tags": lambda api: api.get_model_tags(),
    "get_space_runtime": lambda api: api.get_space_runtime(SPACE),
    "get_space_secrets": lambda api: api.get_space_secrets(SPACE),
    "get_space_variables": lambda api: api.get_space_variables(SPACE),
    "get_webhook": lambda api: api.get_webhook("1"),
    "get_zero_gpu_quota": lambda api: api.get_zero_gpu_quota(),
    "inspect_job": lambda api: api.inspect_job(**JOB),
    "inspect_scheduled_job": lambda api: api.inspect_scheduled_job(**SCHEDULED),
    "kernel_info": lambda api: api.kernel_info(OTHER),
    "list_bucket_tree": lambda api: list(api.list_bucket_tree(BUCKET)),
    "list_buckets": lambda api: list(api.list_buckets("lab")),
    "list_daily_papers": lambda api: list(api.list_daily_papers()),
    "list_jobs": lambda api: list(api.list_jobs(namespace="lab")),
    "list_jobs_hardware": lambda api: api.list_jobs_hardware(),
    "list_liked_repos": lambda api: api.list_liked_repos("lab"),
    "list_organization_followers": lambda api: list(api.list_organization_followers("lab")),
    "list_papers": lambda api: list(api.list_papers(query="x")),
    "list_repo_likers": lambda api: list(api.list_repo_likers(OTHER)),
    "list_scheduled_jobs": lambda api: list(api.list_scheduled_jobs(namespace="lab")),
    "list_space_templates": lambda api: api.list_space_templates(),
    "list_spaces_hardware": lambda api: api.list_spaces_hardware(),
    "list_user_followers": lambda api: list(api.list_user_followers("lab")),
    "list_user_following": lambda api: list(api.list_user_following("lab")),
    "list_webhooks": lambda api: api.list_webhooks(),
    "move_bucket": lambda api: api.move_bucket(BUCKET, "lab/b2"),
    "paper_info": lambda api: api.paper_info("1"),
    "pause_space": lambda api: api.pause_space(SPACE),
    "read_paper": lambda api: api.read_paper("1"),
    "request_space_hardware": lambda api: api.request_space_hardware(SPACE, "t4-small"),
    "rerun_job": lambda api: api.rerun_job(**JOB),
    "restart_space": lambda api: api.restart_space(SPACE),
    "resume_scheduled_job": lambda api: api.resume_scheduled_job(**SCHEDULED),
    "run_job": lambda api: api.run_job(**RUN),
    "run_uv_job": lambda api: api.run_uv_job(UV, namespace="lab"),
    "search_spaces": lambda api: list(api.search_spaces("x")),
    "set_space_sleep_time": lambda api: api.set_space_sleep_time(SPACE, 60),
    "set_space_volumes": lambda api: api.set_space_volumes(SPACE, []),
    "suspend_scheduled_job": lambda api: api.suspend_scheduled_job(**SCHEDULED),
    "sync_bucket": lambda api: api.sync_bucket("hf://buckets/lab/bucket", "/nowhere"),
    "sync_job_volume": lambda api: api.sync_job_volume(Path(__file__).parent / "clients", "/data", namespace="lab"),
    "trigger_scheduled_job": lambda api: api.trigger_scheduled_job(**SCHEDULED),
    "unlike": lambda api: api.unlike(OTHER),
    "update_bucket_settings": lambda api: api.update_bucket_settings(BUCKET, private=True),
    "update_collection_resource_group": lambda api: api.update_collection_resource_group("lab/c-1", "1"),
    "update_job_expose": lambda api: api.update_job_expose(**JOB, expose=[1]),
    "update_job_labels": lambda api: api.update_job_labels(**JOB, labels={}),
    "update_scheduled_job_labels": lambda api: api.update_scheduled_job_labels(**SCHEDULED, labels={}),
    "update_scheduled_job_schedule": lambda api: api.update_scheduled_job_schedule(**SCHEDULED, schedule="@daily"),
    "update_webhook": lambda api: api.update_webhook("1", url="http://a", watched=[]),
    "upload_attachment": lambda api: api.upload_attachment(Path(__file__).parents[3] / "docs" / "space.png"),
    "wait_for_job": lambda api: api.wait_for_job("1", namespace="lab"),
    "wait_for_space": lambda api: api.wait_for_space(SPACE),
}  # fmt: skip
ELSEWHERE = {
    "create_inference_endpoint", "create_inference_endpoint_from_catalog", "delete_inference_endpoint",
    "get_inference_endpoint", "list_dataset_parquet_files", "list_inference_catalog", "list_inference_endpoints",
    "list_inference_endpoints_hardware", "pause_inference_endpoint", "resume_inference_endpoint",
    "scale_to_zero_inference_endpoint", "update_inference_endpoint",
}  # fmt: skip
MADE = "".join(path.read_text() for path in Path(__file__).parent.rglob("*.py") if path.name != Path(__file__).name)


def test_every_method_of_the_client_is_answered_or_refused() -> None:
    methods = {name for name in dir(HfApi) if not name.startswith("_") and callable(getattr(HfApi, name))}
    supported = {name for name in methods if re.search(rf"\b{name}(?:\(|=True)", MADE)}
    assert not supported & (ABSENT_CALLS.keys() | ELSEWHERE)
    assert methods - supported - ABSENT_CALLS.keys() - ELSEWHERE == set()


@pytest.mark.filterwarnings("ignore:.*is experimental")
@pytest.mark.parametrize("method", ABSENT_CALLS)
def test_a_method_that_this_hub_has_not(hub, method: str) -> None:
    with pytest.raises(HfHubHTTPError) as caught:
        ABSENT_CALLS[method](HfApi(endpoint=hub.url, token="any"))
    assert caught.value.response.status_code == 501
    assert re.search(r"This Hub (has|keeps|runs|counts|takes|finds|reads) ", str(caught.value))


def test_every_absent_address(hub) -> None:
    for path in ABSENT:
        address = re.sub(r"\(\?:([^|()]*)[^()]*(?:\([^()]*\))?[^()]*\)\??", r"\1", path)
        address = re.sub(
            r"\{(\w+)\}", lambda match: PATTERNS.get(match[1], "x").split("|")[0].replace("[^/]+", "x"), address
        )
        for method in METHODS.split():
            status, headers, _ = hub.request(method, address.replace("[^/]+", "x").replace(".*", "x"))
            assert status == 501 and headers["x-error-message"].startswith("This Hub "), (method, address)


@pytest.mark.parametrize(
    "sent",
    [
        {"space_secrets": [{"key": "A", "value": "b"}]},
        {"space_variables": [{"key": "A", "value": "b"}]},
        {"space_hardware": "t4-small"},
        {"space_sleep_time": 60},
        {"resource_group_id": "1"},
        {"region": "eu"},
        {"visibility": "protected"},
    ],
)
def test_nothing_of_a_new_space_is_dropped(hub, sent: dict) -> None:
    api = HfApi(endpoint=hub.url, token="any")
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("lab/demanding", repo_type="space", space_sdk="gradio", **sent)
    assert caught.value.response.status_code in (400, 501)
    assert re.search("takes no|does not know|Unknown visibility", str(caught.value))
    assert not api.repo_exists("lab/demanding", repo_type="space")


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        ("models?sort=downloads", "counts no downloads"),
        ("models?sort=modelSize", "sorts by lastModified or createdAt, not by 'modelSize'"),
        ("models?num_parameters=min:1B", "cannot choose models by 'num_parameters'"),
        ("models?inference=warm", "cannot choose models by 'inference'"),
        ("models?apps=vllm", "cannot choose models by 'apps'"),
        ("models?models=a/b", "cannot choose models by 'models'"),
        ("datasets?pipeline_tag=x", "cannot choose datasets by 'pipeline_tag'"),
        ("models?expand=downloadsAllTime", "does not know 'downloadsAllTime' of a model"),
        ("spaces?expand=sha&expand=runtime", "does not know 'runtime' of a space"),
        ("models/sec/repo?expand=likes", "does not know 'likes' of a model"),
        ("collections?sort=upvotes", "counts no upvotes"),
        ("collections?q=x", "cannot choose collections by 'q'"),
        ("models/sec/repo?securityStatus=true", "scans no files"),
    ],
)
def test_what_listings_cannot_do(hub, repo, listing: str, words: str) -> None:
    status, _, content = hub.request("GET", f"/api/{listing}")
    assert status == 501 and words in content.decode()


def test_what_listings_can_do(hub) -> None:
    api = HfApi(endpoint=hub.url, token="any")
    for name, card in (("a-one", "models: [org/m]"), ("a-two", "datasets: org/d"), ("b-one", "tags: [x]")):
        api.create_repo(f"list/{name}", repo_type="space", space_sdk="gradio")
        text = f"---\nsdk: gradio\n{card}\n---\n".encode()
        api.upload_file(path_or_fileobj=text, path_in_repo="README.md", repo_id=f"list/{name}", repo_type="space")
        api.create_repo(f"list/{name}", repo_type="dataset")

    def names(**filters) -> list[str]:
        return sorted(space.id.partition("/")[2] for space in api.list_spaces(author="list", **filters))

    assert names(models="org/m") == ["a-one"] and names(datasets=["org/d", "org/e"]) == ["a-two"]
    assert names(linked=True) == ["a-one", "a-two"] and names(models="org/none") == []
    both = api.list_datasets(author="list", dataset_name="one", search="a-")
    assert [dataset.id for dataset in both] == ["list/a-one"]
    oldest = api.list_spaces(author="list", sort="created_at", expand=["createdAt", "sdk"])
    assert [space.id for space in oldest][-1] == "list/a-one"


def test_what_is_not_counted_is_not_said(hub, repo) -> None:
    info = HfApi(endpoint=hub.url, token="any").model_info(repo)
    assert info.downloads is None and info.likes is None


def test_addresses_that_nothing_stands_at(hub) -> None:
    for method, path, status, words in (
        ("GET", "/api/none", 404, "has nothing at '/api/none'"),
        ("GET", "/api/models/sec/repo/none", 404, "has nothing at"),
        ("GET", "/api/repos/create", 405, "takes POST at this address, not GET"),
        ("GET", "/api/models/gpt2/revision/main", 404, "Repository not found: 'gpt2'"),
    ):
        answer, headers, _ = hub.request(method, path)
        assert answer == status and words in headers["x-error-message"]
        assert ("x-error-code" in headers) == ("Repository" in words)
