"""Every call of huggingface_hub that the Hub answers. Imports nothing of hfdistill."""

import io
import os
import sys
import tempfile
import warnings
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    ModelCard,
    ModelCardData,
    constants,
    hf_hub_download,
    metadata_update,
    snapshot_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from report import attempt, raises


try:
    from huggingface_hub.errors import RemoteEntryNotFoundError
except ImportError:  # its name in clients before 1.0
    from huggingface_hub.errors import EntryNotFoundError as RemoteEntryNotFoundError


warnings.simplefilter("ignore", UserWarning)
api = HfApi()
repo = f"conformance/model-{os.getpid()}"
data = f"conformance/data-{os.getpid()}"
space = f"conformance/space-{os.getpid()}"
weights = os.urandom(3_000_000)
folder = Path(tempfile.mkdtemp())
CARD = "---\nlicense: mit\ntags: [hfdistill]\nbase_model: org/base\ndatasets: [org/data]\n---\n# Title\n"


def repositories() -> None:
    attempt("whoami", lambda: api.whoami()["name"] == "local")
    attempt("create_repo", lambda: api.create_repo(repo).repo_id == repo)
    attempt("create_repo (exist_ok)", lambda: api.create_repo(repo, exist_ok=True).repo_id == repo)
    attempt("create_repo (exists: 409)", lambda: raises(HfHubHTTPError, lambda: api.create_repo(repo)))
    attempt("create_repo (bare name)", lambda: api.create_repo(f"bare-{os.getpid()}").repo_id.startswith("local/"))
    attempt("create_repo (dataset, private)", lambda: api.create_repo(data, repo_type="dataset", private=True))
    attempt("create_repo (Space)", lambda: api.create_repo(space, repo_type="space", space_sdk="gradio"))
    attempt("repo_exists", lambda: api.repo_exists(repo) and not api.repo_exists("conformance/none"))
    attempt("repo_info (missing)", lambda: raises(RepositoryNotFoundError, lambda: api.model_info("a/none")))
    attempt("repo_info (canonical name)", lambda: raises(RepositoryNotFoundError, lambda: api.model_info("gpt2")))
    attempt("dataset_info (private)", lambda: api.dataset_info(data).private is True)
    attempt("space_info", lambda: api.space_info(space).sdk == "gradio")
    attempt(
        "update_repo_settings (public)", lambda: api.update_repo_settings(data, repo_type="dataset", private=False)
    )
    attempt("auth_check", lambda: api.auth_check(repo))
    attempt("auth_check (write)", lambda: api.auth_check(repo, write=True))
    attempt("get_user_overview", lambda: api.get_user_overview("conformance").num_models == 1)
    attempt("get_full_repo_name", lambda: api.get_full_repo_name("x") == "local/x")
    attempt("get_organization_overview", lambda: api.get_organization_overview("conformance").num_datasets > 0)
    attempt("list_organization_members", lambda: list(api.list_organization_members("conformance")) == [])
    attempt("list_user_repos", lambda: f"local/bare-{os.getpid()}" in [r.id for r in api.list_user_repos()])


def uploads() -> str:
    first = attempt(
        "create_commit (files, card and weights)",
        lambda: (
            api.create_commit(
                repo,
                [
                    CommitOperationAdd("README.md", CARD.encode()),
                    CommitOperationAdd("model.safetensors", weights),
                    CommitOperationAdd("a/b/c.txt", b"c"),
                    CommitOperationAdd("a/b/ünï cödé %2F+&.txt", b"name"),
                ],
                commit_message="first",
                commit_description="all of it",
            ).oid
        ),
    )
    (folder / "sub").mkdir()
    (folder / "sub" / "weights.bin").write_bytes(weights[:2_000_000])
    (folder / "x.txt").write_text("x")
    (folder / "empty.bin").write_bytes(b"")
    attempt("upload_folder", lambda: api.upload_folder(repo_id=repo, folder_path=folder, path_in_repo="up").oid)
    head = api.model_info(repo).sha
    attempt(
        "upload_folder (unchanged: no commit)",
        lambda: api.upload_folder(repo_id=repo, folder_path=folder, path_in_repo="up").oid == head,
    )
    attempt(
        "upload_file (file object)",
        lambda: api.upload_file(path_or_fileobj=io.BytesIO(weights), path_in_repo="object.bin", repo_id=repo),
    )
    attempt(
        "upload_file (5 MB of text, regular)",
        lambda: api.upload_file(path_or_fileobj=b"line\n" * 10**6, path_in_repo="long.txt", repo_id=repo),
    )
    attempt("preupload_lfs_files", preupload)
    attempt("create_commit (stale parent: 412)", stale)
    attempt(
        "create_commit (copy, delete)",
        lambda: api.create_commit(
            repo,
            [
                CommitOperationCopy("model.safetensors", "copy.safetensors"),
                CommitOperationCopy("a/b/c.txt", "copy.txt"),
                CommitOperationDelete("up/", is_folder=True),
            ],
            commit_message="copy and delete",
        ),
    )
    attempt("copy_files", lambda: api.copy_files(f"hf://{repo}/copy.txt", f"hf://{repo}/again.txt") is None)
    attempt(
        "create_commit (delete missing)", lambda: raises(RemoteEntryNotFoundError, lambda: api.delete_file("no", repo))
    )
    attempt("delete_file", lambda: api.delete_file("copy.txt", repo))
    attempt("delete_folder", lambda: api.delete_folder("a", repo))
    attempt("delete_files", lambda: api.delete_files(repo, ["*.bin"]))
    attempt("run_as_future", lambda: api.upload_file(**small("future.txt"), run_as_future=True).result().oid)
    attempt("create_commit (path traversal refused)", traversal)
    return first


def small(path: str) -> dict:
    return {"path_or_fileobj": b"small", "path_in_repo": path, "repo_id": repo}


def preupload() -> str:
    operation = CommitOperationAdd("pre.bin", weights[:1_500_000])
    api.preupload_lfs_files(repo, [operation])
    return api.create_commit(repo, [operation], commit_message="preuploaded").oid


def stale() -> bool:
    try:
        api.create_commit(repo, [CommitOperationAdd("z", b"z")], commit_message="z", parent_commit="0" * 40)
    except HfHubHTTPError as error:
        return error.response.status_code == 412
    return False


def traversal() -> bool:
    operation = CommitOperationAdd("fine", b"x")
    operation.path_in_repo = "../out"
    return raises(BadRequestError, lambda: api.create_commit(repo, [operation], commit_message="x"))


def downloads(first: str) -> None:
    def content(path: str, revision: str | None = None) -> bytes:
        return Path(hf_hub_download(repo, path, revision=revision)).read_bytes()

    attempt("hf_hub_download", lambda: content("model.safetensors") == weights)
    attempt("hf_hub_download (revision)", lambda: content("a/b/c.txt", first) == b"c")
    attempt("hf_hub_download (short revision)", lambda: content("a/b/c.txt", first[:8]) == b"c")
    attempt("hf_hub_download (odd name)", lambda: content("a/b/ünï cödé %2F+&.txt", first) == b"name")
    attempt("hf_hub_download (local_dir)", lambda: hf_hub_download(repo, "README.md", local_dir=folder / "local"))
    attempt("hf_hub_download (no entry)", lambda: raises(RemoteEntryNotFoundError, lambda: content("none.txt")))
    attempt("hf_hub_download (no revision)", lambda: raises(RevisionNotFoundError, lambda: content("README.md", "no")))
    attempt("get_hf_file_metadata", metadata)
    attempt("snapshot_download", lambda: len(os.listdir(snapshot_download(repo))) > 3)
    attempt("snapshot_download (allow_patterns)", lambda: snapshot_download(repo, allow_patterns="*.md"))
    attempt("file_exists", lambda: api.file_exists(repo, "README.md") and not api.file_exists(repo, "none"))
    attempt("HfFileSystem (ls, range, glob)", filesystem)
    attempt("HfFileSystem (write)", write_file)
    attempt("list_lfs_files", lambda: "model.safetensors" in [file.filename for file in api.list_lfs_files(repo)])
    attempt("get_safetensors_metadata", safetensors_metadata)
    attempt("verify_repo_checksums", lambda: not api.verify_repo_checksums(repo).mismatches)


def metadata() -> bool:
    found = api.get_hf_file_metadata(url=f"{constants.ENDPOINT}/{repo}/resolve/main/model.safetensors")
    return found.size == len(weights) and len(found.etag) == 64 and len(found.commit_hash) == 40


def safetensors_metadata() -> bool:
    """Of a file whose header names no tensor."""
    other = api.create_repo(f"{repo}-header").repo_id
    header = (2).to_bytes(8, "little") + b"{}"
    api.upload_file(path_or_fileobj=header, path_in_repo="model.safetensors", repo_id=other)
    found = [
        api.parse_safetensors_file_metadata(other, "model.safetensors"),
        *api.get_safetensors_metadata(other).files_metadata.values(),
    ]
    api.delete_repo(other)
    return [file.tensors for file in found] == [{}, {}]


def filesystem() -> bool:
    files = HfFileSystem()
    with files.open(f"{repo}/model.safetensors", "rb") as file:
        file.seek(1_000_000)
        part = file.read(1000)
    return (
        part == weights[1_000_000:1_001_000]
        and f"{repo}/README.md" in files.ls(repo, detail=False)
        and files.glob(f"{repo}/*.safetensors") != []
        and files.cat_file(f"{repo}/README.md") == CARD.encode()
    )


def write_file() -> bool:
    files = HfFileSystem()
    with files.open(f"{repo}/written.txt", "w") as file:
        file.write("written")
    return files.read_text(f"{repo}/written.txt") == "written"


def history(first: str) -> None:
    attempt("list_repo_tree", lambda: len(list(api.list_repo_tree(repo, recursive=True))) > 3)
    attempt("list_repo_tree (expand)", lambda: all(e.last_commit for e in api.list_repo_tree(repo, expand=True)))
    attempt(
        "list_repo_tree (folder, revision)", lambda: len(list(api.list_repo_tree(repo, "a/b", revision=first))) == 2
    )
    attempt(
        "list_repo_tree (missing)",
        lambda: raises(RemoteEntryNotFoundError, lambda: list(api.list_repo_tree(repo, "q"))),
    )
    attempt("list_repo_files", lambda: "README.md" in api.list_repo_files(repo))
    attempt("get_paths_info", lambda: [p.path for p in api.get_paths_info(repo, ["README.md", "no"])] == ["README.md"])
    attempt(
        "get_paths_info (expand)",
        lambda: api.get_paths_info(repo, "README.md", expand=True)[0].last_commit.oid == first,
    )
    attempt("list_repo_commits", lambda: api.list_repo_commits(repo)[-1].title == "initial commit")
    attempt("list_repo_commits (formatted)", lambda: api.list_repo_commits(repo, formatted=True)[-1].formatted_title)
    attempt(
        "model_info (files_metadata)",
        lambda: all(s.blob_id for s in api.model_info(repo, files_metadata=True).siblings),
    )
    attempt("repo_info (dataset)", lambda: api.repo_info(data, repo_type="dataset").sha)
    attempt("resolve_revision", lambda: api.resolve_revision(repo, revision=first).resolved == first)
    attempt("model_info (revision)", lambda: api.model_info(repo, revision=first).sha == first)
    attempt("model_info (expand)", lambda: api.model_info(repo, expand=["sha", "cardData"]).card_data.license == "mit")
    attempt("create_branch", lambda: api.create_branch(repo, branch="dev/x", revision=first))
    attempt("create_branch (exist_ok)", lambda: api.create_branch(repo, branch="dev/x", exist_ok=True))
    attempt("create_branch (409)", lambda: raises(HfHubHTTPError, lambda: api.create_branch(repo, branch="dev/x")))
    attempt("upload_file (branch)", lambda: api.upload_file(**small("on-branch.txt"), revision="dev/x"))
    attempt("create_tag", lambda: api.create_tag(repo, tag="v1.0", revision=first, tag_message="one"))
    attempt("create_tag (exist_ok)", lambda: api.create_tag(repo, tag="v1.0", exist_ok=True))
    attempt("list_repo_refs", lambda: {r.name for r in api.list_repo_refs(repo).branches} == {"main", "dev/x"})
    attempt("revision_exists", lambda: api.revision_exists(repo, "v1.0") and not api.revision_exists(repo, "v2"))
    attempt("hf_hub_download (tag)", lambda: hf_hub_download(repo, "a/b/c.txt", revision="v1.0"))
    attempt("super_squash_history", lambda: api.super_squash_history(repo, branch="dev/x"))
    attempt("list_repo_commits (squashed)", lambda: len(api.list_repo_commits(repo, revision="dev/x")) == 1)
    attempt("delete_branch", lambda: api.delete_branch(repo, branch="dev/x"))
    attempt("delete_tag", lambda: api.delete_tag(repo, tag="v1.0"))
    attempt("delete_tag (missing)", lambda: raises(RevisionNotFoundError, lambda: api.delete_tag(repo, tag="v1.0")))


def listings() -> None:
    def found(**filters) -> bool:
        return repo in [model.id for model in api.list_models(**filters)]

    attempt("list_models", lambda: found())
    attempt("list_models (author)", lambda: found(author="conformance") and not found(author="else"))
    attempt(
        "list_models (filter)", lambda: found(filter=["hfdistill", "base_model:org/base"]) and not found(filter="x")
    )
    attempt("list_models (trained_dataset)", lambda: found(trained_dataset="org/data"))
    attempt("list_models (search)", lambda: found(search="MODEL-") and not found(search="nothing"))
    attempt("list_models (sort, limit)", lambda: len(list(api.list_models(sort="last_modified", limit=1))) == 1)
    attempt(
        "list_models (full, cardData)",
        lambda: next(iter(api.list_models(full=True, cardData=True))).siblings is not None,
    )
    attempt("list_models (expand)", lambda: next(iter(api.list_models(expand=["sha"]))).sha)
    attempt("list_datasets", lambda: data in [item.id for item in api.list_datasets(author="conformance")])
    attempt("list_spaces", lambda: space in [item.id for item in api.list_spaces()])


def cards() -> None:
    attempt("ModelCard.load", lambda: ModelCard.load(repo).data.license == "mit")
    made = ModelCard.from_template(ModelCardData(license="apache-2.0", tags=["hfdistill"]), model_id=repo)
    attempt("ModelCard.validate, push_to_hub", lambda: made.push_to_hub(repo))
    attempt(
        "ModelCard.validate (bad)", lambda: raises(ValueError, lambda: ModelCard("---\nlicense: 1\n---\n").validate())
    )
    attempt("metadata_update", lambda: metadata_update(repo, {"pipeline_tag": "text-generation"}))
    attempt("model_info (pipeline_tag)", lambda: api.model_info(repo).pipeline_tag == "text-generation")


def discussions() -> None:
    attempt("create_discussion", lambda: api.create_discussion(repo, "a question", description="why?").num == 1)
    attempt("comment_discussion", lambda: api.comment_discussion(repo, 1, "**so**").content == "**so**")
    event = api.get_discussion_details(repo, 1).events[-1]
    attempt("edit_discussion_comment", lambda: api.edit_discussion_comment(repo, 1, event.id, "thus").edited)
    attempt("hide_discussion_comment", lambda: api.hide_discussion_comment(repo, 1, event.id).hidden)
    attempt("rename_discussion", lambda: api.rename_discussion(repo, 1, "an answer").new_title == "an answer")
    attempt("change_discussion_status", lambda: api.change_discussion_status(repo, 1, "closed").new_status == "closed")
    attempt("create_commit (create_pr)", lambda: api.upload_file(**small("pr.txt"), create_pr=True).pr_num == 2)
    attempt("create_commit (on a PR)", lambda: api.upload_file(**small("more.txt"), revision="refs/pr/2"))
    attempt("upload_file (weights, on a PR)", weights_on_pull_request)
    attempt("get_discussion_details (diff)", lambda: "+small" in api.get_discussion_details(repo, 2).diff)
    attempt(
        "list_repo_refs (PRs)", lambda: len(api.list_repo_refs(repo, include_pull_requests=True).pull_requests) == 1
    )
    attempt("hf_hub_download (refs/pr/2)", lambda: hf_hub_download(repo, "pr.txt", revision="refs/pr/2"))
    attempt("merge_pull_request", lambda: api.merge_pull_request(repo, 2, comment="good"))
    attempt("get_discussion_details (merged)", lambda: api.get_discussion_details(repo, 2).merge_commit_oid)
    attempt("file_exists (merged)", lambda: api.file_exists(repo, "pr.txt") and api.file_exists(repo, "pr.bin"))
    attempt("create_pull_request", lambda: api.create_pull_request(repo, "a draft").status == "draft")
    attempt("get_repo_discussions", lambda: [d.num for d in api.get_repo_discussions(repo)] == [3, 2, 1])
    attempt(
        "get_repo_discussions (filters)",
        lambda: (
            [d.num for d in api.get_repo_discussions(repo, discussion_type="pull_request", discussion_status="open")]
            == [3]
        ),
    )


def weights_on_pull_request() -> object:
    return api.upload_file(
        path_or_fileobj=os.urandom(500_000), path_in_repo="pr.bin", repo_id=repo, revision="refs/pr/2"
    )


def collections() -> None:
    title = f"Run {os.getpid()}"
    made = attempt("create_collection", lambda: api.create_collection(title, namespace="conformance", description="d"))
    attempt(
        "create_collection (exists_ok)",
        lambda: api.create_collection(title, namespace="conformance", exists_ok=True).slug == made.slug,
    )
    attempt("add_collection_item", lambda: api.add_collection_item(made.slug, repo, "model", note="the model"))
    attempt(
        "add_collection_item (exists_ok)", lambda: api.add_collection_item(made.slug, repo, "model", exists_ok=True)
    )
    attempt("add_collection_item (dataset)", lambda: api.add_collection_item(made.slug, data, "dataset"))
    items = api.get_collection(made.slug).items
    attempt(
        "get_collection", lambda: [item.item_id for item in items] == [repo, data] and items[0].note == "the model"
    )
    attempt(
        "update_collection_item",
        lambda: api.update_collection_item(made.slug, items[1].item_object_id, note="first", position=0),
    )
    attempt("get_collection (moved)", lambda: api.get_collection(made.slug).items[0].item_id == data)
    attempt("delete_collection_item", lambda: api.delete_collection_item(made.slug, items[0].item_object_id))
    attempt(
        "update_collection_metadata",
        lambda: api.update_collection_metadata(made.slug, title="New", theme="pink").title == "New",
    )
    attempt(
        "list_collections",
        lambda: (
            made.slug[-24:]
            in [item.slug[-24:] for item in api.list_collections(owner="conformance", item=f"datasets/{data}")]
        ),
    )
    attempt("delete_collection", lambda: api.delete_collection(made.slug))


def copy_to_another(dataset: str) -> bool:
    """Whether a large and a small file of the model are the same in a dataset after a copy."""
    source = {"src_repo_id": repo, "src_repo_type": "model"}
    paths = ["pr.bin", "pr.txt"]
    copies = [CommitOperationCopy(src_path_in_repo=path, path_in_repo=f"copied/{path}", **source) for path in paths]
    api.create_repo(dataset, repo_type="dataset")
    api.create_commit(dataset, copies, commit_message="copy", repo_type="dataset")
    return all(
        Path(hf_hub_download(repo, path)).read_bytes()
        == Path(hf_hub_download(dataset, f"copied/{path}", repo_type="dataset")).read_bytes()
        for path in paths
    )


def endings() -> None:
    moved = f"{repo}-moved"
    attempt("update_repo_settings (gated)", lambda: api.update_repo_settings(repo, gated="auto"))
    attempt("model_info (gated)", lambda: api.model_info(repo).gated == "auto")
    attempt("auth_check (the owner passes)", lambda: not raises(GatedRepoError, lambda: api.auth_check(repo)))
    attempt("list_pending_access_requests", lambda: list(api.list_pending_access_requests(repo)) == [])
    attempt("permanently_delete_lfs_files", delete_for_good)
    attempt("duplicate_repo", duplicate)
    attempt("create_commit (copy from a model to a dataset)", lambda: copy_to_another(f"{repo}-copies"))
    attempt("move_repo", lambda: api.move_repo(repo, moved))
    attempt("hf_hub_download (old name)", lambda: hf_hub_download(repo, "README.md", force_download=True))
    attempt("delete_repo", lambda: api.delete_repo(moved))
    attempt("delete_repo (missing_ok)", lambda: api.delete_repo(moved, missing_ok=True))
    attempt("delete_repo (missing)", lambda: raises(RepositoryNotFoundError, lambda: api.delete_repo(moved)))


def duplicate() -> bool:
    twin = api.duplicate_repo(repo, f"{repo}-twin").repo_id
    copied = os.listdir(snapshot_download(twin))
    histories = [[commit.commit_id for commit in api.list_repo_commits(name)] for name in (repo, twin)]
    api.delete_repo(twin)
    return "README.md" in copied and histories[0] == histories[1]


def delete_for_good() -> bool:
    """Taken out of all commits, a large file is in none; the others stay."""
    files = [file for file in api.list_lfs_files(repo) if file.filename == "model.safetensors"]
    before = len(api.list_repo_commits(repo))
    api.permanently_delete_lfs_files(repo, files)
    left = api.list_repo_files(repo)
    return (
        len(files) == 1
        and files[0].file_oid not in [file.file_oid for file in api.list_lfs_files(repo)]
        and "model.safetensors" not in left
        and "README.md" in left
        and len(api.list_repo_commits(repo)) == before
        and all(entry.last_commit for entry in api.list_repo_tree(repo, expand=True))
    )


repositories()
first_commit = uploads()
downloads(first_commit)
history(first_commit)
listings()
if sys.argv[1:] != ["without-cards"]:
    cards()
discussions()
collections()
endings()
