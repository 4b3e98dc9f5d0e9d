"""Labels that come with a file: the next colour, key and place in the project's list."""

from __future__ import annotations

import string
from collections.abc import Iterable

from labeling.models import Label, LabelWord, Project
from labeling.models.labels import PALETTE

# Without f and c, which the labelling page keeps for flags and comments.
KEYS = "1234567890" + "".join(letter for letter in string.ascii_lowercase if letter not in "fc")
MAX_LABELS = 200


def add_label(*, project: Project, name: str, words: Iterable[str] = ()) -> Label:
    """A new label at the end of the list, with its words; the first free one of KEYS as its key, or none."""
    taken = list(project.labels.values_list("key", "position"))
    position = max((row[1] for row in taken), default=-1) + 1
    keys = {row[0] for row in taken}
    label = Label.objects.create(
        project=project,
        name=name,
        color=PALETTE[position % len(PALETTE)],
        key=next((key for key in KEYS if key not in keys), ""),
        position=position,
    )
    set_words(label=label, words=words)
    return label


def set_words(*, label: Label, words: Iterable[str]) -> None:
    """Give `label` these words, in this order, in place of the ones it has."""
    label.words.all().delete()
    unique = dict.fromkeys(words)
    LabelWord.objects.bulk_create(
        LabelWord(label=label, text=word, position=at) for at, word in enumerate(unique)
    )
