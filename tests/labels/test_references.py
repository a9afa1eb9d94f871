"""What validation answers are compared with."""

from hfdistill.labels.references import validation_references


def test_references_are_pseudo_labels_or_golds():
    asked = [
        {"question_id": "t", "split": "train", "pseudo_label": "1"},
        {"question_id": "a", "split": "validation", "pseudo_label": "2"},
        {"question_id": "b", "split": "validation", "pseudo_label": None},
        {"question_id": "c", "split": "validation", "pseudo_label": "4"},
    ]
    golds = [{"question_id": q, "gold": g} for q, g in (("a", "7"), ("b", "8"), ("t", "9"))]
    assert validation_references(asked) == {"a": "2", "c": "4"}
    assert validation_references(asked, limit=1) == {"a": "2"}
    assert validation_references(asked, golds) == {"a": "7", "b": "8"}
