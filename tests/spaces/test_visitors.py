import logging

import pytest

from hfdistill.errors import HFDistillError
from hfdistill.space.visitors import ForVisitors, redacted, told


def test_a_sentence_for_visitors_is_shown_as_it_is():
    assert told(ForVisitors("Type a question first."), "Not now.") == "Type a question first."


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ("http://user:s3cret@10.0.0.5:8080 cannot be reached", "<address> cannot be reached"),
        ("answered 401: invalid token hf_SECRETSECRET for user x", "answered 401"),
        ("answered 500: <html>Internal path /srv/secret/model</html>", "answered 500"),
        ("there is no folder /home/me/runs/x-policy: it has not run", "there is no folder …/x-policy: it has not run"),
        ("Authorization: Bearer abc123", "Authorization: Bearer <token>"),
        ("me/run-policy is not on the Hub, 3/4 of it", "me/run-policy is not on the Hub, 3/4 of it"),
    ],
)
def test_the_log_has_no_address_no_secret_and_no_folder(caplog, message, left):
    assert redacted(message) == left
    with caplog.at_level(logging.WARNING):
        assert told(HFDistillError(message), "Not now.") == "Not now."
    assert left in caplog.text
    for inside in ("s3cret", "SECRET", "/home/me", "/srv", "abc123"):
        assert inside not in caplog.text
