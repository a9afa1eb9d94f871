"""The Space's page, by Gradio."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from ..errors import HFDistillError
from ..evaluation.paper_rows import PAPER_ROWS
from . import explore, render, zero_gpu
from .allowance import Allowance
from .api import calls
from .blind import VERDICTS, Pair, draw_pair, open_ledger
from .compare import compare
from .framework import gr
from .models import Models
from .run import ShownRun, shown
from .settings import VOTES_TOKEN, Settings, load_settings
from .visitors import ForVisitors, number, told


SANS = ["system-ui", "-apple-system", "Segoe UI", "Liberation Sans", "DejaVu Sans", "sans-serif"]
MONO = ["ui-monospace", "Liberation Mono", "DejaVu Sans Mono", "monospace"]
KINDS = {"Test questions": "test", "Training questions": "train"}
MOST_AT_ONCE, MOST_VOTES = 200, 1000
MOST_SAMPLES, HOTTEST = 8, 1.2
WAITING = '<div class="hfd hfd-intro"><h1>Opening the run …</h1></div>'
EMPTY = (
    '<div class="hfd"><div class="hfd-panel"><p class="hfd-what">The answers of the teacher and the students appear '
    "here, side by side.</p></div></div>"
)
NO_NOTICE = gr.update(visible=False)
NOT_NOW = "This run cannot be shown now. Try again in a minute; whoever owns this page finds the reason in its log."


class Page:
    """What the handlers of the page share: the run, once it could be opened, and the models in memory.

    Args:
        settings ([`~hfdistill.space.settings.Settings`] or [`~hfdistill.errors.HFDistillError`]): what to show, or
            why that is not known, which the page then tells.
    """

    def __init__(self, settings: Settings | HFDistillError):
        self.settings = settings
        self.models = zero_gpu.ModelsOnZeroGPU() if zero_gpu.ON else Models()
        self._run: ShownRun | None = None
        self.allowance = Allowance()
        stored = settings if isinstance(settings, Settings) else None
        self.ledger = open_ledger(stored and stored.votes_repo, os.environ.get(VOTES_TOKEN))
        self._rng = random.Random()
        self._about: str | None = None
        self._asked: dict[str, asyncio.Event] = {}
        self._lock = Lock()

    def run(self) -> ShownRun:
        """The run; tried again at each call until it can be opened, so that a Hub that was down is no restart."""
        if isinstance(self.settings, HFDistillError):
            raise self.settings
        with self._lock:
            if self._run is None:
                self._run = ShownRun(self.settings)
                self.models.asked = self._run.asked
            return self._run

    def open_early(self) -> None:
        """Open the run before somebody asks for it; whoever does is told what is wrong."""
        with suppress(HFDistillError):
            run = self.run()
            if zero_gpu.ON and not run.settings.stored_only:
                self.models.load(run)

    def open(self, request: gr.Request) -> tuple[str, str]:
        """Head of the page, and the stored answers as its address says."""
        try:
            run = self.run()
            return render.intro(run), explore.explore(run, dict(request.query_params))
        except HFDistillError as error:
            head = '<div class="hfd hfd-intro"><h1>Teacher and students, side by side</h1></div>'
            return head, render.notice(told(error, NOT_NOW))

    def about(self) -> str:
        """The page of the run."""
        try:
            run = self.run()
            with self._lock:
                self._about = self._about or render.run_page(run)
            return self._about
        except HFDistillError as error:
            return render.notice(told(error, NOT_NOW))

    def looking(self) -> list[Callable[[Any], str]]:
        """What the script of the stored answers asks for, each for a view: Gradio takes functions, no methods."""

        def table(view: Any) -> str:
            return explore.table(self.run(), view)

        def question(view: Any) -> str:
            return explore.question(self.run(), view)

        def pictures(view: Any) -> str:
            return explore.pictures(self.run(), view)

        return [table, question, pictures]

    def choices(self, kind: str) -> Any:
        """The questions of one kind for the drop-down list."""
        try:
            questions = self.run().examples()[KINDS.get(kind, "test")]
        except HFDistillError:  # the head of the page says why
            questions = []
        return gr.update(choices=[(shown(question), question.question_id) for question in questions], value=None)

    def pick(self, question_id: str | None) -> Any:
        """Text of the question that was picked."""
        question = self.run().questions.get(str(question_id))
        return gr.skip() if question is None else shown(question)

    def draw(self, kind: str) -> str:
        """Text of a random question."""
        try:
            questions = self.run().examples(limit=10_000)[KINDS.get(kind, "test")]
            if not questions:
                raise ForVisitors(f"This run has no {kind.lower()}.")
        except HFDistillError as error:
            raise gr.Error(told(error, NOT_NOW), print_exception=False) from error
        return shown(self._rng.choice(questions))

    async def ask(
        self, text: str, temperature: float, samples: float, request: gr.Request
    ) -> AsyncIterator[tuple[Any, Any]]:
        """Notice and comparison, again and again while the models answer. A question that the same visitor asks
        meanwhile takes this one's place, unless it is one too many.
        """
        visitor, stop, notice = str(request.session_hash), asyncio.Event(), NO_NOTICE
        try:
            self.allowance.take(visitor)
        except ForVisitors as error:
            yield _notice(error), gr.skip()
            return
        self.stop(request)
        self._asked[visitor] = stop
        try:
            run = await asyncio.to_thread(self.run)
            count = int(number(samples, "The number of answers", 1, MOST_SAMPLES))
            warmth = number(temperature, "The temperature", 0, HOTTEST)
            async with aclosing(compare(run, self.models, text, warmth, count, stop)) as comparisons:
                async for comparison in comparisons:
                    if self._asked.get(visitor) is not stop:
                        break
                    yield notice, render.comparison(run, comparison)
                    notice = gr.skip()  # one that came meanwhile stays
        except HFDistillError as error:
            yield _notice(error), gr.skip()
        finally:
            replaced = self._asked.get(visitor) is not stop
            if not replaced:
                del self._asked[visitor]
        if replaced:
            # What is yielded last is sent once more at the end, and would cover the new question.
            yield gr.skip(), gr.skip()

    def stop(self, request: gr.Request) -> None:
        """End what the visitor asked, with what is there."""
        asked = self._asked.get(str(request.session_hash))
        if asked is not None:
            asked.set()

    def pair(self, votes: list) -> tuple[str, Any, Any, Any]:
        """Two answers to vote on, the pair, and which buttons there are."""
        try:
            run = self.run()
            if run.results is None:
                raise ForVisitors("This run has no stored answers to vote on.")
            pair = draw_pair(run.results, list(PAPER_ROWS), self._rng)
        except HFDistillError as error:
            return render.notice(told(error, NOT_NOW)), None, gr.skip(), gr.skip()
        return render.blind(run, pair, None, votes, self.ledger is not None), pair, *_shown(voting=True)

    def vote(self, verdict: str, pair: Pair | None, votes: list) -> tuple[str, list, Any, Any]:
        """Note a vote, and tell who wrote what."""
        if pair is None:
            return gr.skip(), votes, gr.skip(), gr.skip()
        votes = [*votes, (pair, verdict)][-MOST_VOTES:]
        if self.ledger is not None:
            self.ledger.add(pair, verdict)
        html = render.blind(self.run(), pair, VERDICTS[verdict], votes, self.ledger is not None)
        return html, votes, *_shown(voting=False)

    def asked_by(self, visitor: str) -> ShownRun:
        """The run, for a visitor who may ask; an empty one only reads."""
        if visitor:
            self.allowance.take(visitor)
        return self.run()


def _shown(voting: bool) -> tuple[Any, Any]:
    """The row of verdicts, and the button for another pair."""
    return gr.update(visible=voting), gr.update(visible=not voting)


def _notice(error: HFDistillError) -> Any:
    return gr.update(value=render.notice(told(error, NOT_NOW)), visible=True)


def build(page: Page) -> gr.Blocks:
    """Lay out the page."""
    with gr.Blocks(title="Teacher and students, side by side", analytics_enabled=False, fill_width=True) as blocks:
        head = gr.HTML(WAITING, padding=False, elem_id="head")
        with gr.Tabs():
            with gr.Tab("Explore", id="explore"):
                explored = gr.HTML(
                    "",
                    padding=False,
                    elem_id="explore",
                    js_on_load=render.script("explore.js"),
                    server_functions=page.looking(),
                )
            with gr.Tab("Ask", id="ask") as ask:
                text = gr.Textbox(
                    label="Question",
                    placeholder="Type a question and press Enter, or pick one below",
                    lines=1,
                    max_lines=12,
                    submit_btn="Ask all",
                    elem_id="question",
                )
                with gr.Row():
                    kind = gr.Radio(list(KINDS), value="Test questions", label="From the run", scale=2, min_width=300)
                    picked = gr.Dropdown(
                        [], value=None, label="Pick one", filterable=True, scale=4, min_width=260, elem_id="pick"
                    )
                    draw = gr.Button("Surprise me", scale=0, min_width=140, elem_id="draw")
                with gr.Accordion("Draw several answers", open=False), gr.Row():
                    temperature = gr.Slider(
                        0,
                        HOTTEST,
                        value=0,
                        step=0.1,
                        label="Temperature",
                        info="At 0, each model gives its most likely answer, always the same one. Above, it draws.",
                    )
                    samples = gr.Slider(
                        1,
                        MOST_SAMPLES,
                        value=3,
                        step=1,
                        label="Answers of each model",
                        info="At a temperature above 0.",
                    )
                for slider in (temperature, samples):
                    # Gradio's own check meets what is no number with a TypeError; `ask` says what is wrong.
                    slider.preprocess = lambda given: given
                with gr.Row():
                    halt = gr.Button("Stop", scale=0, min_width=110, elem_id="stop")
                    gr.Checkbox(label="Raw text", container=False, scale=0, min_width=120, elem_id="raw")
                notice = gr.HTML(visible=False, padding=False, elem_id="notice")
                answers = gr.HTML(EMPTY, padding=False, elem_id="answers")
            with gr.Tab("Vote blind", id="vote") as voting:
                blind, pair, votes = gr.HTML("", padding=False, elem_id="blind"), gr.State(), gr.State([])
                with gr.Row(visible=False) as verdicts:
                    chosen = {verdict: gr.Button(words, min_width=120) for verdict, words in VERDICTS.items()}
                another = gr.Button("Another pair", visible=False, variant="primary")
            with gr.Tab("About", id="run") as about_run:
                about = gr.HTML("", padding=False, elem_id="about")

        asking = {
            "fn": page.ask,
            "inputs": [text, temperature, samples],
            "outputs": [notice, answers],
            "show_progress": "hidden",
            "concurrency_limit": None,  # the lanes say who waits
            "trigger_mode": "multiple",
            "api_visibility": "private",
        }
        text.submit(**asking)
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        picked.select(page.pick, picked, text, **quiet).success(**asking)
        draw.click(page.draw, kind, text, **quiet).success(**asking)
        paired = {"fn": page.pair, "inputs": votes, "outputs": [blind, pair, verdicts, another], **quiet}
        voting.select(**paired)
        another.click(**paired)
        for verdict, button in chosen.items():
            button.click(partial(page.vote, verdict), [pair, votes], [blind, votes, verdicts, another], **quiet)
        halt.click(page.stop, None, None, queue=False, **quiet)
        kind.change(page.choices, kind, picked, **quiet)
        ask.select(page.choices, kind, picked, **quiet)
        about_run.select(page.about, None, about, **quiet)
        blocks.load(page.open, None, [head, explored], **quiet)
        for name, call in calls(page.asked_by, page.models, MOST_SAMPLES).items():
            gr.api(call, api_name=name, concurrency_limit=None)
    return blocks.queue(max_size=MOST_AT_ONCE)


def launch(settings: Settings | HFDistillError, **options: Any) -> gr.Blocks:
    """Serve the page, and return at once; `block_thread()` of what is returned waits until it is interrupted.

    Args:
        settings ([`~hfdistill.space.settings.Settings`] or [`~hfdistill.errors.HFDistillError`]): see [`Page`].
        options: passed on to `gradio.Blocks.launch`, for example `server_port`.
    """
    theme = gr.themes.Default(primary_hue="indigo", neutral_hue="slate", font=SANS, font_mono=MONO)
    page = Page(settings)
    if zero_gpu.ON:
        page.open_early()
    else:  # so that the first visitor waits for less
        Thread(target=page.open_early, daemon=True).start()
    blocks = build(page)
    look = {"theme": theme, "css_paths": render.STYLE, "footer_links": ["api"]}
    options = {"mcp_server": find_spec("mcp") is not None, **options}
    blocks.launch(**look, ssr_mode=False, prevent_thread_lock=True, **options)
    return blocks


def main(config: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Run as a Space: settings from `space.json` and variables, address and port from Gradio's."""
    try:
        settings: Settings | HFDistillError = load_settings(config, environment)
    except HFDistillError as error:
        settings = error
    launch(settings).block_thread()
