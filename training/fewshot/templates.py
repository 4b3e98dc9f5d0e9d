"""Templates to begin with when a project has none of its own; the data choose among them (see `model.py`)."""

from __future__ import annotations

# Sentences about a subject, a judgement, a wish, a pair of texts: what the word then says, the encoder reads. Topic and
# sentiment are measured in docs/research/2026-11-workbench.md; for intent and pairs there was no data.
LIBRARY: dict[str, tuple[str, ...]] = {
    "topic": (
        "这是一条{mask}新闻。{text}",
        "下面的内容与{mask}有关。{text}",
        "这是一篇关于{mask}的文章。{text}",
        "标题：{text}。栏目：{mask}。",
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
        "用户想要{mask}。{text}",
    ),
    "pair": (
        "{text_a}？{mask}，{text_b}",
        "{text_a}，{text_b}，这两句话的意思{mask}。",
        "{text_a}，{mask}{text_b}",
    ),
    "plain": ("{mask}。{text}",),
    "english": ("This text is about {mask}. {text}", "It is {mask}. {text}"),
}

DEFAULT_TEMPLATE = "下面的内容与{mask}有关。{text}"
# What a run without a template of its own chooses from (measured in docs/research/2026-11-few-shot.md).
CANDIDATES = (
    "这是一条{mask}新闻。{text}",
    "这是一篇关于{mask}的文章。{text}",
    "下面的内容与{mask}有关。{text}",
    "这段文字的主题是{mask}。{text}",
    "{text}总的来说，{mask}。",
    "{text}我觉得{mask}。",
    "这是一条{mask}的评价。{text}",
    "用户的意图是{mask}。{text}",
    "这个问题属于{mask}。{text}",
    "{mask}。{text}",
    "This text is about {mask}. {text}",
    "It is {mask}. {text}",
)


def relatives_of(template: str) -> list[str]:
    """Other templates for the same kind of question: those of the library's group that `template` is nearest to in
    its characters, itself left out."""
    own = set(template)

    def likeness(group: tuple[str, ...]) -> float:
        return max(len(own & set(one)) / len(own | set(one)) for one in group)

    nearest = max(LIBRARY.values(), key=likeness)
    return [one for one in nearest if one != template]
