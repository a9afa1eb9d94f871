"""The HTML templates of the Hub's pages. Everything put into them is escaped unless it says `| safe`."""

from jinja2 import DictLoader, Environment


STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --ground: #fff; --panel: #f6f8fa;
  --link: #0b5bd3; --chosen: #0b5bd3; --on-chosen: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #a4afbd; --line: #333c4b; --ground: #12161d;
  --panel: #1c222d; --link: #7db3ff; --chosen: #7db3ff; --on-chosen: #12161d; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; color: var(--ink); background: var(--ground);
  overflow-wrap: break-word; }
header, main { max-width: 62rem; margin: 0 auto; padding: .8rem 1.2rem; }
header { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; align-items: baseline;
  border-bottom: 1px solid var(--line); }
header a { color: inherit; } header form { margin-left: auto; } input { font: inherit; max-width: 100%; color: inherit;
  background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .1rem .5rem; }
a { color: var(--link); text-decoration: none; } a:hover, h1 a, p a, article a { text-decoration: underline; }
a:focus-visible, input:focus-visible, [tabindex]:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h1 small { font-weight: normal; color: var(--soft); }
nav.tabs { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; border-bottom: 1px solid var(--line);
  padding-bottom: .4rem; margin-bottom: 1rem; }
nav.tabs .here { font-weight: 600; color: inherit; }
.tag, p .tag { display: inline-block; text-decoration: none; border: 1px solid var(--line); border-radius: 1rem;
  padding: 0 .6rem; font-size: .85rem; max-width: 100%; overflow-wrap: anywhere; }
.tag.here { background: var(--chosen); border-color: var(--chosen); color: var(--on-chosen); font-weight: 600; }
.muted { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .8rem 0; display: block; overflow-x: auto; }
td, th { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top; }
th { white-space: nowrap; } .plain td { border-width: 0 0 1px 0; overflow-wrap: anywhere; }
.whole { white-space: nowrap; overflow-wrap: normal; }
pre { background: var(--panel); padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
code { font-size: .9em; } img { max-width: 100%; }
p code, li code { overflow-wrap: anywhere; }
.data { border-top: 1px solid var(--line); }
.cell { max-width: 28rem; white-space: pre-wrap; }
.cell.short { white-space: nowrap; } .cell.words { min-width: 12rem; }
.cell.number { white-space: nowrap; text-align: right; font-variant-numeric: tabular-nums; }
.event { border: 1px solid var(--line); border-radius: .4rem; padding: .2rem .9rem; margin: .8rem 0; }
@media (max-width: 560px) { header, main { padding: .6rem .9rem; } header form { margin-left: 0; width: 100%; }
  input { width: 100%; } .plain tbody { display: block; }
  .plain tr { display: flex; flex-wrap: wrap; gap: 0 1rem; padding: .4rem 0; border-bottom: 1px solid var(--line); }
  .plain td { border: 0; padding: 0; } .plain td:first-child { flex: 1 0 100%; } }
"""

TEMPLATES = {
    "base": """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style | safe }}</style></head><body>
<header><a href="/"><b>hfdistill hub</b></a> <a href="/models">Models</a> <a href="/datasets">Datasets</a>
<a href="/spaces">Spaces</a> <a href="/collections">Collections</a>
<form action="/{{ kind or 'models' }}"><input type="search" name="search" aria-label="Search" placeholder="Search"
value="{{ search or '' }}"></form>
{% if user.anonymous %}<a href="/login">Log in</a>{% else %}<span class="muted">{{ user.name }}</span>{% endif %}
</header><main>{% block main %}{% endblock %}</main></body></html>""",
    "repo_list": """<table class="plain">{% for repo in repos %}<tr><td>
<a href="/{{ repo.url_path }}">{{ repo.repo_id }}</a>
{% if repo.private %}<span class="tag">private</span>{% endif %}{% if repo.gated %}<span class="tag">gated</span>
{% endif %}</td><td class="muted">updated <span class="whole">{{ repo.updated_at | day }}</span></td></tr>{% else %}
<tr><td class="muted">Nothing here yet.</td></tr>{% endfor %}</table>""",
    "home": """{% extends "base" %}{% block main %}<h1>{{ title }}</h1>{% for kind, repos in groups.items() %}
<h2><a href="/{{ kind }}">{{ kind | capitalize }}</a></h2>{% include "repo_list" %}{% endfor %}
<p class="muted">Any client works with <code>export HF_ENDPOINT={{ base_url }}</code></p>{% endblock %}""",
    "listing": """{% extends "base" %}{% block main %}<h1>{{ title }}</h1>{% include "repo_list" %}
{% if next %}<a href="{{ next }}">Next page</a>{% endif %}{% endblock %}""",
    "repo": """{% extends "base" %}{% block main %}<h1><small>{{ repo.type }}</small>
<a href="/{{ repo.namespace }}">{{ repo.namespace }}</a>/<a href="/{{ repo.url_path }}">{{ repo.name }}</a>
{% if repo.private %}<span class="tag">private</span>{% endif %}{% if repo.gated %}<span class="tag">gated</span>
{% endif %}</h1><nav class="tabs">{% for name, link in tabs %}<a {% if name == tab %}class="here"
aria-current="page" {% endif %}
href="/{{ repo.url_path }}{{ link }}">{{ name }}</a>{% endfor %}</nav>{% block body %}{% endblock %}{% endblock %}""",
    "card": """{% extends "repo" %}{% block body %}<p>{% for tag in tags %}<a class="tag" href="/{{ kind }}?filter={{
tag | urlencode }}">{{ tag }}</a> {% endfor %}</p>
{% if parents %}<p>Made from {% for parent in parents %}<a href="/{{ parent.url_path }}">{{ parent.repo_id }}</a>{{
", " if not loop.last }}{% endfor %}</p>{% endif %}
{% if gate %}<p>The files of this repository are gated: ask for access with
<code>POST /api/{{ kind }}/{{ repo.repo_id }}/ask-access</code> and your token.</p>{% endif %}
<article>{% if card %}{{ card | safe }}{% elif why %}<p class="muted">The card is shown as it was written, since it
cannot be rendered: {{ why }}.</p><pre>{{ text }}</pre>{% else %}<p class="muted">No card.</p>{% endif %}</article>
{% if rows %}<section class="data" aria-label="First rows"><h2>First rows</h2><p>{% for name in configs %}<a {% if
name == config %}class="tag here" aria-current="true"{% else %}class="tag"{% endif %} href="?config={{
name | urlencode }}">{{ name }}</a> {% endfor %}<span class="muted">{{ rows.path }}</span></p>{% if rows.why %}<p
class="muted">They cannot be shown: {{ rows.why }}.</p>{% else %}<table tabindex="0"
aria-label="First rows of {{ config }}"><tr>{% for name in rows.columns %}<th>{{ name }}</th>{% endfor %}
</tr>{% for row in rows.rows %}<tr>{% for cell in row %}<td><div class="cell {{ cell | look }}">{{ cell }}</div></td>
{% endfor %}</tr>{% endfor %}</table>{% endif %}</section>{% endif %}{% endblock %}""",
    "tree": """{% extends "repo" %}{% block body %}<p><code>{{ revision }}</code> / {% for name, link in crumbs %}<a
href="{{ link }}">{{ name }}</a> / {% endfor %}</p><table class="plain">{% for entry in entries %}<tr><td><a
href="{{ entry.link }}">{{ entry.name }}</a></td><td class="muted"><span
class="whole">{{ entry.size }}</span></td><td>{% if entry.download %}<a class="whole"
href="{{ entry.download }}">download</a>{% endif %}</td><td class="muted">{{ entry.title }}</td></tr>{% endfor %}
</table>{% if more %}<p class="muted">and {{ more }} more</p>{% endif %}
<p class="muted">Branches and tags: {% for name in refs %}<a href="/{{ repo.url_path }}/tree/{{ name | quote }}">{{
name }}</a> {% endfor %}</p>{% endblock %}""",
    "blob": """{% extends "repo" %}{% block body %}<p><code>{{ revision }}</code> / <b>{{ path }}</b>
<span class="muted whole">{{ size }}</span> <a href="{{ download }}?download=true">download</a></p>
{% if text is not none %}<pre>{{ text }}</pre>{% elif image %}<img src="{{ download }}" alt="{{ path }}">{% else %}
<p class="muted">Too large or no text; sha256 {{ sha256 }}</p>{% endif %}{% endblock %}""",
    "commits": """{% extends "repo" %}{% block body %}<table class="plain">{% for commit in commits %}<tr><td>{{
commit.title }}</td><td class="muted">{{ commit.author }}, <span class="whole">{{ commit.created_at | day }}</span>
</td><td><a class="whole" href="/{{ repo.url_path }}/commit/{{ commit.oid }}"><code>{{ commit.oid[:8] }}</code></a>
</td><td><a href="/{{ repo.url_path }}/tree/{{ commit.oid }}">files</a></td></tr>{% endfor %}</table>
{% if next %}<a href="/{{ repo.url_path }}/commits/{{ next }}">Older</a>{% endif %}{% endblock %}""",
    "commit": """{% extends "repo" %}{% block body %}<h2>{{ commit.title }}</h2><p class="muted"><code>{{
commit.oid }}</code>, {{ commit.author }}, <span class="whole">{{ commit.created_at | day }}</span></p><p><a
href="/{{ repo.url_path }}/tree/{{ commit.oid }}">Files</a>{% if commit.parent %}, <a
href="/{{ repo.url_path }}/commit/{{ commit.parent }}">the commit before</a>{% endif %}</p>
{% include "difference" %}{% endblock %}""",
    "difference": """{% if difference %}<pre>{{ difference }}</pre>{% else %}<p
class="muted">No file is changed.</p>{% endif %}""",
    "discussions": """{% extends "repo" %}{% block body %}<table class="plain">{% for item in discussions %}<tr><td><a
href="/{{ repo.url_path }}/discussions/{{ item.num }}">#{{ item.num }} {{ item.title }}</a></td><td>{{
"pull request" if item.base else "discussion" }}</td><td>{{ item.status }}</td><td
class="muted">{{ item.author }}, <span class="whole">{{ item.created_at | day }}</span></td></tr>{% else %}
<tr><td class="muted">None yet.</td></tr>{% endfor %}</table>{% endblock %}""",
    "discussion": """{% extends "repo" %}{% block body %}<h2>#{{ item.num }} {{ item.title }} <span class="tag">{{
item.status }}</span></h2>{% for event in events %}<div class="event"><p class="muted">{{
event.author }}, <span class="whole">{{ event.created_at | day }}</span>: {{ event.text }}</p>{{
event.html | safe }}</div>{% endfor %}
{% if item.base %}<h2>What it changes</h2>{% include "difference" %}{% endif %}{% endblock %}""",
    "collection": """{% extends "base" %}{% block main %}<h1>{{ collection.title }}</h1><p class="muted">{{
collection.namespace }}{% if collection.description %}: {{ collection.description }}{% endif %}</p>
<table class="plain">{% for item in items %}<tr><td>{{ item.type }}</td><td>{% if item.link %}<a
href="{{ item.link }}">{{ item.name }}</a>{% else %}{{ item.name }}{% endif %}</td><td>{{ item.note or "" }}</td></tr>
{% endfor %}</table>{% endblock %}""",
    "collections": """{% extends "base" %}{% block main %}<h1>Collections</h1><table class="plain">{% for item in
collections %}<tr><td><a href="/collections/{{ item.slug }}">{{ item.title }}</a></td><td class="muted">{{
item.namespace }}</td></tr>{% else %}<tr><td class="muted">None yet.</td></tr>{% endfor %}</table>{% endblock %}""",
    "message": """{% extends "base" %}{% block main %}<h1>{{ title }}</h1><p>{{ message }}</p>{% endblock %}""",
}


def environment(filters: dict) -> Environment:
    made = Environment(loader=DictLoader(TEMPLATES), autoescape=True)
    made.globals["style"] = STYLE
    made.filters.update(filters)
    return made
