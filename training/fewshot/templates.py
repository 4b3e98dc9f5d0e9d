"""Templates to begin with when a project has none of its own; the data choose among them (see `model.py`)."""

from __future__ import annotations

# Neutral sentences about a subject, about a judgement, about a wish: what the word then says, the encoder reads.
LIBRARY: dict[str, tuple[str, ...]] = {
    "topic": (
        "这是一条{mask}新闻。{text}",
        "这是一篇关于{mask}的文章。{text}",
        "下面的内容与{mask}有关。{text}",
        "这段文字的主题是{mask}。{text}",
    ),
    "sentiment": (
        "{text}总的来说，{mask}。",
        "{text}我觉得{mask}。",
        "这是一条{mask}的评价。{text}",
    ),
    "intent": (
        "用户的意图是{mask}。{text}",
        "这个问题属于{mask}。{text}",
    ),
    "plain": ("{mask}。{text}",),
    "english": ("This text is about {mask}. {text}", "It is {mask}. {text}"),
}

DEFAULT_TEMPLATE = "下面的内容与{mask}有关。{text}"


def relatives_of(template: str) -> list[str]:
    """Other templates for the same kind of question: those of the library's group that `template` is nearest to in
    its characters, itself left out."""
    own = set(template)

    def likeness(group: tuple[str, ...]) -> float:
        return max(len(own & set(one)) / len(own | set(one)) for one in group)

    nearest = max(LIBRARY.values(), key=likeness)
    return [one for one in nearest if one != template]


def candidates() -> tuple[str, ...]:
    """Every template of the library."""
    return tuple(template for group in LIBRARY.values() for template in group)
