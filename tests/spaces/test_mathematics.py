import re
from html import unescape
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfdistill.space.mathematics import written


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"$\frac{1}{2}$", "<math><mrow><mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac></mrow></math>"),
        (r"\(x^2\)", "<math><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math>"),
        (
            r"\[\sqrt[3]{8} \le 2\]",
            "<mn>8</mn></mrow><mrow><mn>3</mn></mrow></mroot><mo>≤</mo><mn>2</mn>",
        ),
        (r"\boxed{\frac{1}{2}}", "hfd-boxed"),
        (r"$5 \text{ red pens}$", "<mtext> red pens</mtext>"),
        ("It costs $5 and then $3 = 2 more.", "It costs $5 and then $3 = 2 more."),
        (r"$\unheard{x}$ and $x^12$", r"<code>$\unheard{x}$</code> and <code>$x^12$</code>"),
        ("Step 1: 1 + 1 = 2.\n2. so <b>", "<b>Step 1:</b> 1 + 1 = 2.\n<b>2.</b> so &lt;b&gt;"),
        ("$" * 5000, "$" * 5000),
        (r"\boxed{" * 2000, r"\boxed{" * 2000),
        (r"$" + "{" * 100 + "=" + "}" * 100 + "$", "<code>$" + "{" * 100),
    ],
)
def test_what_is_drawn(text, shown):
    assert shown in written(text)


PIECES = st.sampled_from(
    ["$", "$$", r"\(", r"\)", r"\[", r"\frac", "{", "}", "^", "_", "x", "12", "<", "&", '"', "\n", " ", "="]
)


@given(st.text(max_size=30) | st.lists(PIECES, max_size=25).map("".join))
def test_whatever_a_model_writes_stays_within_its_elements(text):
    html = written(text)
    allowed = [
        "math",
        "mrow",
        "mfrac",
        "mroot",
        "msqrt",
        "msup",
        "msub",
        "mn",
        "mi",
        "mo",
        "mtext",
        "mspace",
        "code",
        "b",
    ]
    assert set(re.findall(r"<(\w+)", html)) <= set(allowed)
    if text.isprintable():
        ElementTree.fromstring(f"<p>{html}</p>")
    if "<math" not in html:
        assert unescape(re.sub(r"</?(b|code)>", "", html)) == text
