"""Users, organisations, tokens, private and gated repositories, through the real client."""

import sqlite3

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.errors import DisabledRepoError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from hfdistill.servers.hub.service import Hub


@pytest.fixture(scope="module")
def closed_hub(tmp_path_factory, served):
    """A Hub with tokens: alice and bob write and are in an organisation, reader only reads, carol is a stranger."""
    data = tmp_path_factory.mktemp("closed") / "data"
    accounts = Hub(data).accounts
    roles = {"alice": "write", "bob": "write", "reader": "read", "carol": "write", "root": "admin"}
    tokens = {user: accounts.create_token(user, "default", role) for user, role in roles.items()}
    for user, role in {"alice": "admin", "bob": "write", "reader": "read"}.items():
        accounts.add_member("lab", user, role)
    hub = served(data)
    hub.tokens = tokens
    return hub


@pytest.fixture
def api_of(closed_hub):
    return lambda user: HfApi(endpoint=closed_hub.url, token=closed_hub.tokens[user] if user else False)


def status_of(call) -> int:
    with pytest.raises(HfHubHTTPError) as caught:
        call()
    return caught.value.response.status_code


def test_who_am_i(closed_hub, api_of) -> None:
    me = api_of("alice").whoami()
    assert me["name"] == "alice" and me["orgs"][0]["name"] == "lab" and me["orgs"][0]["roleInOrg"] == "admin"
    assert me["auth"]["accessToken"]["role"] == "write"
    assert api_of("reader").whoami()["auth"]["accessToken"]["role"] == "read"
    assert status_of(lambda: HfApi(endpoint=closed_hub.url, token="hf_wrong").whoami()) == 401


def test_tokens_are_kept_as_hashes(closed_hub) -> None:
    with sqlite3.connect(closed_hub.data / "hub.sqlite") as database:
        stored = " ".join(str(row) for row in database.execute("SELECT * FROM tokens"))
    files = [path.read_bytes() for path in closed_hub.data.glob("hub.sqlite*")]
    for token in closed_hub.tokens.values():
        assert token.startswith("hf_") and token not in stored
        assert not any(token.encode() in content for content in files)


def test_namespaces(api_of) -> None:
    assert api_of("alice").create_repo("mine").repo_id == "alice/mine"
    assert api_of("bob").create_repo("lab/shared").repo_id == "lab/shared"
    assert api_of("root").create_repo("anywhere/x").repo_id == "anywhere/x"
    assert status_of(lambda: api_of("carol").create_repo("lab/other")) == 403
    assert status_of(lambda: api_of("carol").create_repo("alice/other")) == 403
    assert status_of(lambda: api_of("reader").create_repo("reader/x")) == 403
    assert status_of(lambda: api_of("reader").create_repo("lab/x")) == 403
    assert status_of(lambda: api_of(None).create_repo("alice/x")) == 401


def test_a_user_is_no_organisation(closed_hub, api_of) -> None:
    api = api_of(None)
    assert api.get_user_overview("alice").orgs[0].name == "lab"
    assert api.get_organization_overview("lab").name == "lab"
    assert [member.username for member in api.list_organization_members("lab")] == ["alice", "bob", "reader"]
    for call, name, words in (
        (api.get_organization_overview, "alice", "'alice' is a user, not an organisation"),
        (api.get_user_overview, "lab", "'lab' is an organisation, not a user"),
        (lambda name: list(api.list_organization_members(name)), "alice", "'alice' is a user"),
    ):
        with pytest.raises(HfHubHTTPError, match=words) as caught:
            call(name)
        assert caught.value.response.status_code == 404
    # Of a namespace that holds nothing but what is hidden, not even the name is told.
    assert api_of("root").create_repo("ghost/hidden", private=True).repo_id == "ghost/hidden"
    assert status_of(lambda: api.get_user_overview("ghost")) == 404
    assert api_of("root").get_user_overview("ghost").num_models == 1


def test_private_repositories(api_of, tmp_path) -> None:
    alice = api_of("alice")
    alice.create_repo("lab/secret", private=True)
    alice.upload_file(path_or_fileobj=b"secret", path_in_repo="a.txt", repo_id="lab/secret")
    for member in ("bob", "reader", "root"):
        assert api_of(member).file_exists("lab/secret", "a.txt")
        assert [m.id for m in api_of(member).list_models(search="secret")] == ["lab/secret"]
    for stranger in ("carol", None):
        api = api_of(stranger)
        with pytest.raises(RepositoryNotFoundError):
            api.model_info("lab/secret")
        with pytest.raises(RepositoryNotFoundError):
            hf_hub_download(
                "lab/secret", "a.txt", endpoint=api.endpoint, token=api.token, cache_dir=tmp_path / str(stranger)
            )
        assert list(api.list_models(search="secret")) == []
        with pytest.raises(RepositoryNotFoundError):
            api.list_repo_tree("lab/secret").__next__()
        with pytest.raises(RepositoryNotFoundError):
            next(iter(api.get_repo_discussions("lab/secret")))
    assert status_of(lambda: api_of("reader").upload_file(**upload("lab/secret"))) == 403


def upload(repo: str, data: bytes = b"x") -> dict:
    return {"path_or_fileobj": data, "path_in_repo": "x.txt", "repo_id": repo}


def test_writing_needs_the_right(api_of) -> None:
    api_of("alice").create_repo("alice/public")
    assert status_of(lambda: api_of("carol").upload_file(**upload("alice/public"))) == 403
    assert status_of(lambda: api_of("carol").delete_repo("alice/public")) == 403
    assert status_of(lambda: api_of("carol").move_repo("alice/public", "carol/public")) == 403
    assert status_of(lambda: api_of("carol").update_repo_settings("alice/public", private=True)) == 403
    assert status_of(lambda: api_of("carol").create_tag("alice/public", tag="v")) == 403
    assert status_of(lambda: api_of("alice").move_repo("alice/public", "carol/public")) == 403
    assert status_of(lambda: api_of(None).upload_file(**upload("alice/public"))) == 401


def test_pull_requests_of_strangers(api_of) -> None:
    api_of("alice").create_repo("alice/open")
    made = api_of("carol").upload_file(**upload("alice/open"), create_pr=True)
    assert made.pr_num == 1
    assert status_of(lambda: api_of("carol").merge_pull_request("alice/open", 1)) == 403
    assert status_of(lambda: api_of("reader").comment_discussion("alice/open", 1, "me too")) == 403
    api_of("alice").merge_pull_request("alice/open", 1)
    assert api_of(None).file_exists("alice/open", "x.txt")


def test_a_hash_is_no_key(api_of) -> None:
    """Who knows the hash of a private content cannot have it by committing it to a repository of one's own."""
    alice, carol = api_of("alice"), api_of("carol")
    alice.create_repo("alice/hidden", private=True)
    weights = bytes(range(256)) * 5000
    alice.upload_file(path_or_fileobj=weights, path_in_repo="w.bin", repo_id="alice/hidden")
    carol.create_repo("carol/thief")
    operation = CommitOperationAdd("w.bin", weights)
    operation._upload_mode, operation._is_uploaded, operation._should_ignore = "lfs", True, False
    assert status_of(lambda: carol.create_commit("carol/thief", [operation], commit_message="steal")) == 400


def test_gated_repositories(api_of, tmp_path) -> None:
    alice, carol = api_of("alice"), api_of("carol")
    alice.create_repo("alice/gated")
    alice.upload_file(path_or_fileobj=b"gated", path_in_repo="a.txt", repo_id="alice/gated")
    alice.update_repo_settings("alice/gated", gated="manual")
    assert carol.model_info("alice/gated").gated == "manual"
    with pytest.raises(GatedRepoError):
        carol.auth_check("alice/gated")
    with pytest.raises(GatedRepoError):
        hf_hub_download("alice/gated", "a.txt", endpoint=carol.endpoint, token=carol.token, cache_dir=tmp_path)
    assert ask(carol, "alice/gated") == ask(carol, "alice/gated") == "pending"
    assert [request.username for request in alice.list_pending_access_requests("alice/gated")] == ["carol"]
    with pytest.raises(GatedRepoError):
        carol.auth_check("alice/gated")
    alice.accept_access_request("alice/gated", "carol")
    assert [request.username for request in alice.list_accepted_access_requests("alice/gated")] == ["carol"]
    carol.auth_check("alice/gated")
    assert hf_hub_download("alice/gated", "a.txt", endpoint=carol.endpoint, token=carol.token, cache_dir=tmp_path)
    alice.cancel_access_request("alice/gated", "carol")
    assert [request.username for request in alice.list_pending_access_requests("alice/gated")] == ["carol"]
    assert status_of(lambda: alice.reject_access_request("alice/gated", "carol", rejection_reason="no")) == 501
    alice.reject_access_request("alice/gated", "carol", rejection_reason=None)
    assert [request.username for request in alice.list_rejected_access_requests("alice/gated")] == ["carol"]
    assert ask(carol, "alice/gated") == "rejected"
    with pytest.raises(GatedRepoError):
        carol.auth_check("alice/gated")
    alice.grant_access("alice/gated", "carol")
    carol.auth_check("alice/gated")
    alice.update_repo_settings("alice/gated", gated="auto")
    with pytest.raises(GatedRepoError):
        api_of("bob").auth_check("alice/gated")
    assert ask(api_of("bob"), "alice/gated") == "accepted"
    api_of("bob").auth_check("alice/gated")


def ask(api: HfApi, repo: str) -> str:
    """Asks for access; returns where that stands."""
    from huggingface_hub.utils import build_hf_headers, get_session

    answer = get_session().post(
        f"{api.endpoint}/api/models/{repo}/ask-access", headers=build_hf_headers(token=api.token)
    )
    assert answer.status_code == 200
    return answer.json()["status"]


def test_private_collections_and_items(api_of) -> None:
    alice, carol = api_of("alice"), api_of("carol")
    alice.create_repo("alice/private-item", private=True)
    alice.create_repo("alice/public-item")
    made = alice.create_collection("Mixed", namespace="alice")
    alice.add_collection_item(made.slug, "alice/private-item", "model")
    alice.add_collection_item(made.slug, "alice/public-item", "model")
    assert [item.item_id for item in carol.get_collection(made.slug).items] == ["alice/public-item"]
    assert status_of(lambda: carol.delete_collection(made.slug)) == 403
    assert alice.list_collections(item="models/alice/private-item").__next__().slug == made.slug
    for item in ("models/alice/private-item", "models/alice/none", "models/none"):
        assert list(carol.list_collections(item=item)) == []
    both = carol.list_collections(owner=["carol", "alice"], item=["models/alice/none", "models/alice/public-item"])
    assert [collection.slug for collection in both] == [made.slug]
    hidden = alice.create_collection("Hidden", namespace="alice", private=True)
    assert status_of(lambda: carol.get_collection(hidden.slug)) == 404


def test_commands(closed_hub, run_command, api_of) -> None:
    data = closed_hub.data
    listed = run_command("token", "list", "--data", data).stdout
    assert "alice\tdefault\twrite" in listed and "hf_" not in listed
    token = run_command("token", "create", "dave", "--name", "short", "--data", data).stdout.strip()
    dave = HfApi(endpoint=closed_hub.url, token=token)
    assert dave.whoami()["name"] == "dave"
    again = run_command("token", "create", "dave", "--name", "short", "--data", data)
    assert again.returncode == 2 and "already has a token" in again.stderr and "Traceback" not in again.stderr
    assert run_command("token", "revoke", "dave", "--name", "short", "--data", data).returncode == 0
    assert status_of(dave.whoami) == 401
    missing = run_command("token", "revoke", "dave", "--name", "short", "--data", data)
    assert missing.returncode == 2 and "no token 'short'" in missing.stderr
    token = run_command("token", "create", "erin", "--role", "read", "--data", data).stdout.strip()
    assert run_command("org", "add", "lab", "erin", "--role", "read", "--data", data).returncode == 0
    erin = HfApi(endpoint=closed_hub.url, token=token).whoami()
    assert erin["auth"]["accessToken"]["role"] == "read"
    assert (erin["orgs"][0]["name"], erin["orgs"][0]["roleInOrg"]) == ("lab", "read")
    assert run_command("org", "remove", "lab", "erin", "--data", data).returncode == 0
    assert run_command("token", "revoke", "erin", "--data", data).returncode == 0
    assert run_command("fsck", "--quick", "--data", data).stdout == "no problem found\n"
    nowhere = run_command("fsck", "--data", data / "none")
    assert nowhere.returncode == 2 and "there is no Hub" in nowhere.stderr


def test_a_disabled_repository(closed_hub, api_of, run_command) -> None:
    data = closed_hub.data
    api_of("alice").create_repo("alice/taken")
    assert run_command("disable", "alice/taken", "--data", data).returncode == 0
    for user in ("alice", "carol", None):
        with pytest.raises(DisabledRepoError):
            api_of(user).model_info("alice/taken")
        assert list(api_of(user).list_models(search="taken")) == []
    assert api_of("root").model_info("alice/taken").disabled is True
    assert run_command("enable", "alice/taken", "--data", data).returncode == 0
    assert api_of("carol").model_info("alice/taken").disabled is False
    missing = run_command("disable", "alice/taken", "--repo_type", "dataset", "--data", data)
    assert missing.returncode == 2 and "Repository not found: 'alice/taken'" in missing.stderr


def test_public_addresses_need_tokens(run_command, start_hub, tmp_path) -> None:
    refused = run_command("serve", "--host", "0.0.0.0", "--port", "0", "--data", tmp_path / "open")
    assert refused.returncode == 2 and "without tokens" in refused.stderr and "Traceback" not in refused.stderr
    token = run_command("token", "create", "alice", "--data", tmp_path / "open").stdout.strip()
    hub = start_hub(tmp_path / "open", host="0.0.0.0")
    api = HfApi(endpoint=hub.url.replace("0.0.0.0", "127.0.0.1"), token=token)
    assert api.whoami()["name"] == "alice"
    assert run_command("token", "revoke", "alice", "--data", tmp_path / "open").returncode == 0
    assert status_of(api.whoami) == 403


def test_one_server_a_folder(start_hub, run_command, tmp_path) -> None:
    hub = start_hub(tmp_path / "one")
    second = run_command("serve", "--port", "0", "--data", tmp_path / "one")
    assert second.returncode == 2 and "already uses" in second.stderr
    port = hub.url.rpartition(":")[2]
    taken = run_command("serve", "--port", port, "--data", tmp_path / "two")
    assert taken.returncode == 2 and "port" in taken.stderr and "Traceback" not in taken.stderr
