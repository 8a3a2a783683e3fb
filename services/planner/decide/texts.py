"""The platform's own sentences, used where a pack does not bring its own words."""

from __future__ import annotations

from tandem.packs.model import Pack, Texts

TEXTS: dict[str, Texts] = {
    "clarify": {
        "en": "I want to be sure I help with the right thing. Do you mean: {options}?",
        "zh": "为了准确帮到您，请问您指的是：{options}？",
    },
    "clarify_open": {
        "en": "Could you tell me a little more about what you need?",
        "zh": "请再多说一点您需要什么帮助？",
    },
    "reject": {
        "en": "I am sorry, that is outside of what I can help with here.",
        "zh": "抱歉，这超出了我能帮忙的范围。",
    },
    "handover": {
        "en": "I am passing this to a colleague, who will go on with you here.",
        "zh": "我正在为您转接人工同事。",
    },
    "handover_failed": {
        "en": "Something went wrong on our side. A colleague will go on with you here.",
        "zh": "我们这边出了点问题，人工同事会继续为您处理。",
    },
    "taken_over": {"en": "{expert} is now helping you.", "zh": "现在由 {expert} 为您服务。"},
    "given_back": {"en": "Our assistant goes on from here. {reason}", "zh": "接下来由智能助手继续为您服务。{reason}"},
    "resume": {"en": "Back to {topic}.", "zh": "我们回到：{topic}。"},
    "consent_again": {
        "en": "That answer belongs to an earlier question, so I have not acted on it.",
        "zh": "这个回答对应的是之前的问题，所以我没有执行任何操作。",
    },
    "reask": {"en": "Sorry, I did not get that.", "zh": "抱歉，我没有理解。"},
    "reminder": {"en": "Are you still there?", "zh": "您还在吗？"},
    "unanswered": {
        "en": "I have not heard back, so I am closing this for now. Write again at any time.",
        "zh": "由于没有收到您的回复，我先结束本次服务，您可以随时再来。",
    },
    "no_answer": {"en": "I could not find a reliable answer to that.", "zh": "我没有找到可靠的答案。"},
    "declined": {"en": "All right, I have not changed anything.", "zh": "好的，我没有做任何更改。"},
    "confirm_call": {
        "en": "I would now carry out {tool} with {arguments}. Shall I go ahead?",
        "zh": "我将执行 {tool}（{arguments}），可以吗？",
    },
    "approval_wait": {
        "en": "A colleague has to approve this. I will tell you as soon as it is decided.",
        "zh": "此操作需要同事审批，有结果我会马上告诉您。",
    },
    "approval_rejected": {
        "en": "The request was not approved, so nothing was changed.",
        "zh": "该请求未获批准，没有做任何更改。",
    },
    "follow_up": {"en": "Did that solve it?", "zh": "问题解决了吗？"},
    "confirmed": {"en": "Glad to hear it.", "zh": "很高兴能帮到您。"},
    "welcome": {"en": "You are welcome.", "zh": "不客气。"},
    "unsuccessful": {"en": "That did not work.", "zh": "操作没有成功。"},
    "budget": {
        "en": "This needs more work than I may do by myself. A colleague will go on with you here.",
        "zh": "这需要更多处理，人工同事会继续为您服务。",
    },
    "busy": {
        "en": "That is a lot at once. A colleague will go on with you here.",
        "zh": "事情比较多，人工同事会继续为您服务。",
    },
}


def sentence(pack: Pack, key: str, language: str) -> str:
    """The pack's words for a platform sentence, else ours; in the language, else in the pack's first."""
    texts = {**TEXTS.get(key, {}), **pack.texts.get(key, {})}
    return pack.say(texts, language)
