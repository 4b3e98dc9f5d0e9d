"""The library of templates as the page shows it: each with a name and when to use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from training.fewshot.templates import LIBRARY

TITLES: dict[str, Any] = {
    "topic": _("主题"),
    "sentiment": _("情感"),
    "intent": _("意图"),
    "pair": _("两段文本的关系"),
    "plain": _("不加句子"),
    "english": _("英文文本"),
}

# By template: (name, when to use it).
ENTRIES: dict[str, tuple[Any, Any]] = {
    "这是一条{mask}新闻。{text}": (
        _("新闻栏目"),
        _("标题和短消息，标签是栏目名，如体育、财经。标签句方法里最好的之一。"),
    ),
    "下面的内容与{mask}有关。{text}": (
        _("通用主题"),
        _("什么文本都读得通，不限于新闻。用填空方法时先试它。"),
    ),
    "这是一篇关于{mask}的文章。{text}": (_("文章"), _("较长的文章，标签是话题，如教育、法律。")),
    "标题：{text}。栏目：{mask}。": (_("标题和栏目"), _("只有标题的文本；标签词放在文本后面。")),
    "这段文字的主题是{mask}。{text}": (_("主题句"), _("标签是名词短语；填空方法下不如上面几个。")),
    "{text}总的来说，{mask}。": (_("总评"), _("评价和评论；标签词写成一句短评，如很好、不好。")),
    "{text}我觉得{mask}。": (_("我觉得"), _("口语化的评论；填空方法下最好的情感模板。")),
    "这是一条{mask}的评价。{text}": (_("评价在前"), _("评价很长、结尾会被截断时；标签词如满意、失望。")),
    "用户的意图是{mask}。{text}": (_("意图"), _("对话和指令，标签词是动作，如查询、退货。")),
    "这个问题属于{mask}。{text}": (_("问题归类"), _("客服、工单和问答，标签词是业务名。")),
    "用户想要{mask}。{text}": (_("想要"), _("短指令，标签词是动词短语。")),
    "{text_a}？{mask}，{text_b}": (
        _("推断"),
        _("前一段能否推出后一段；标签词如是的、不是、也许。两段用制表符隔开，只能用填空方法。"),
    ),
    "{text_a}，{text_b}，这两句话的意思{mask}。": (
        _("同义"),
        _("两段意思是否一样；标签词如相同、不同。只能用填空方法。"),
    ),
    "{text_a}，{mask}{text_b}": (
        _("连接词"),
        _("两段之间的关系；标签词是连词，如所以、但是。只能用填空方法。"),
    ),
    "{mask}。{text}": (_("只有标签词"), _("不想加任何句子时，也用作比较的底线。")),
    "This text is about {mask}. {text}": (_("英文主题"), _("英文文本，标签词也用英文。")),
    "It is {mask}. {text}": (_("英文评价"), _("英文评价，标签词如 great、terrible。")),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One template of the library."""

    text: str
    name: Any
    when: Any


@dataclass(frozen=True, slots=True)
class Group:
    """Templates for one kind of question, the best measured first."""

    title: Any
    templates: tuple[Entry, ...]


def library() -> list[Group]:
    """All groups, in the engine's order."""
    return [
        Group(TITLES[group], tuple(Entry(text, *ENTRIES[text]) for text in templates))
        for group, templates in LIBRARY.items()
    ]
