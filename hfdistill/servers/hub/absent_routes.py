"""Calls of the real Hub that this one does not have: whoever makes one is told so, in words and with status 501."""

from collections.abc import Callable

from .errors import absent
from .rights import Right
from .routing import Call, Response, Routes


routes = Routes()

METHODS = "GET POST PUT PATCH DELETE"
# `{id}`, not `{repo}`: what is not there is not there for anybody, so no repository is looked up.
ABSENT = {
    "/api/spaces/{id}/(?:secrets|variables)": "keeps no secrets or variables of Spaces, since it runs none: set them "
    "in the environment where the Space runs",
    "/api/spaces/{id}/(?:hardware|sleeptime|storage|volumes|dev-mode)": "has no Space hardware: it keeps the files of "
    "Spaces and runs none",
    "/api/spaces/{id}/(?:runtime|restart|pause|metrics|events|logs/[^/]+)": "runs no Spaces: it keeps their files",
    "/api/spaces/(?:hardware|zero-gpu/quota)": "has no Space hardware",
    "/api/spaces/templates": "has no Space templates",
    "/api/spaces/semantic-search": "finds Spaces by parts of their names alone, as list_spaces(search=) does",
    "/api/(?:jobs|scheduled-jobs)(?:/.*)?": "runs no Jobs",
    "/api/(?:buckets|kernels)(?:/.*)?": "has models, datasets and Spaces, but no buckets or kernels",
    "/buckets/.*": "has no buckets",
    "/api/settings/webhooks(?:/.*)?": "has no webhooks",
    "/api/(?:papers|daily_papers)(?:/.*)?": "has no papers",
    "/papers/[^/]+": "has no papers",
    "/api/{type}/{id}/(?:like|likers)": "counts no likes",
    "/api/users/{name}/likes": "counts no likes",
    "/api/(?:users|organizations)/{name}/(?:followers|following)": "has no followers",
    "/api/datasets/{id}/leaderboard": "has no leaderboards",
    "/api/datasets/{id}/(?:parquet|croissant)(?:/.*)?": "converts no datasets",
    "/api/(?:models|datasets)-tags-by-type": "has no catalogue of tags: listings take any tag of a card as a filter",
    "/api/{type}/{id}/xet-read-token(?:/.*)?": "gives contents by plain HTTP alone",
    "/api/(?:models|datasets|spaces|collections)/{id}/resource-group": "has no resource groups",
    "/api/{type}/{id}/discussions/{num}/(?:pin|delete|lock)": "can rename, close, open and merge discussions, but not "
    "pin, lock or delete them",
    "/uploads": "takes no attachments: commit the file and link to it",
    "/oauth/.*": "has no login by browser or identity provider: make a token with `hfdistill hub token create`",
}


def _refusal(sentence: str) -> Callable[[Call], Response]:
    def refuse(call: Call) -> Response:
        raise absent(sentence)

    return refuse


for path, sentence in ABSENT.items():
    routes(METHODS, path, Right.OPEN)(_refusal(sentence))
