"""Routes of collections."""

from .collections import Collection
from .errors import HubError, absent, bad_request
from .repositories import PREFIXES
from .rights import Right
from .routing import Call, Response, Routes, json_response


routes = Routes()

PAGE = 100


def describe(call: Call, collection: Collection) -> dict:
    items = []
    for position, row in enumerate(call.hub.collections.items(call.user, collection)):
        item = {"_id": row["id"], "id": row["item"], "type": row["type"], "position": position}
        if row["type"] in PREFIXES:
            item |= {"repoType": row["type"], "author": row["item"].partition("/")[0]}
        if row["type"] == "collection":
            item["slug"] = row["item"]
        if row["note"]:
            item["note"] = {"text": row["note"], "html": ""}
        items.append(item)
    return {
        "slug": collection.slug,
        "title": collection.title,
        "description": collection.description,
        "owner": {"name": collection.namespace, "fullname": collection.namespace, "type": "user", "avatarUrl": ""},
        "gating": False,
        "private": bool(collection.private),
        "theme": collection.theme,
        "position": collection.position,
        "upvotes": 0,
        "isUpvotedByUser": False,
        "lastUpdated": collection.updated_at,
        "items": items,
    }


@routes("GET", "/api/collections", Right.OPEN)
def listing(call: Call) -> Response:
    for name in call.query_names():
        if name not in ("owner", "item", "sort", "limit", "cursor"):
            raise absent(f"cannot choose collections by '{name[:100]}', only by owner and item")
    if call.query("sort") not in (None, "lastModified"):
        raise absent("sorts collections by lastModified alone: it counts no upvotes")
    items = []
    for text in call.queries("item"):
        prefix, _, name = text.partition("/")
        kind = {"models": "model", "datasets": "dataset", "spaces": "space", "papers": "paper"}.get(prefix)
        if kind is None:
            raise bad_request(f"'item' must be like 'models/namespace/name', got '{text}'.")
        items.append((kind, name))
    limit = call.number("limit", PAGE, 1, PAGE)
    offset = call.number("cursor", 0, 0, 10**9)
    found = call.hub.collections.listed(call.user, call.queries("owner"), items, limit + 1, offset)
    headers = call.next_link(cursor=str(offset + limit)) if len(found) > limit else None
    answers = [describe(call, collection) for collection in found[:limit]]
    for answer in answers:
        del answer["position"]  # clients number listings themselves
        answer["items"] = answer["items"][:4]
    return json_response(answers, headers=headers)


@routes("POST", "/api/collections", Right.ACT)
def create(call: Call) -> Response:
    collection, new = call.hub.collections.create(call.user, call.json())
    if not new:
        message = f"'{collection.namespace}' already has a collection titled '{collection.title}'."
        raise HubError(409, message, body={"slug": collection.slug})
    return json_response(describe(call, collection))


@routes("GET", "/api/collections/{slug}", Right.OPEN)
def get(call: Call) -> Response:
    return json_response(describe(call, call.hub.collections.get(call.user, call.params["slug"])))


@routes("PATCH", "/api/collections/{slug}", Right.ACT)
def update(call: Call) -> Response:
    collection = call.hub.collections.update(call.user, call.params["slug"], call.json())
    return json_response({"success": True, "data": describe(call, collection)})


@routes("DELETE", "/api/collections/{slug}", Right.ACT)
def delete(call: Call) -> Response:
    call.hub.collections.delete(call.user, call.params["slug"])
    return json_response({})


@routes("POST", "/api/collections/{slug}/items", Right.ACT)
def add_item(call: Call) -> Response:
    collection = call.hub.collections.add_item(call.user, call.params["slug"], call.json())
    return json_response(describe(call, collection))


@routes("PATCH", "/api/collections/{slug}/items/{item}", Right.ACT)
def update_item(call: Call) -> Response:
    call.hub.collections.update_item(call.user, call.params["slug"], call.params["item"], call.json())
    return json_response({"success": True})


@routes("DELETE", "/api/collections/{slug}/items/{item}", Right.ACT)
def delete_item(call: Call) -> Response:
    call.hub.collections.delete_item(call.user, call.params["slug"], call.params["item"])
    return json_response({})
