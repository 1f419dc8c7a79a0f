"""Our own training text: thinking in the styles of reasoning models, made from permissive rows and phrases.

Every harmful text has twins in the same style that differ in the decision alone: the same request declined, and harmless
requests carried through. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from . import phrases_en, phrases_zh

PHRASES: dict[str, ModuleType] = {"en": phrases_en, "zh": phrases_zh}

_LEAD = re.compile(
    r"^(please |kindly |hi,? |hello,? |hey,? )*((can|could|would|will) (you|u) (please )?|i (want|need|would like|'d like) (you )?to "
    r"|i'm looking for (ways|a way) to |tell me |show me |teach me |explain |help me (to )?|give me )?",
    re.IGNORECASE,
)
_HOW = re.compile(r"^(how (do|can|could|would|should|to|might) ?(i|you|one|someone|we|people|they)?|what(?:'s| is| are) the best ways? to) ", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
_CJK = re.compile(r"[\u3400-\u9fff]+")
_STOP = set(
    "the a an of to in on for and or with how do i you is are can what that this it be my your me from by as at without about please "
    "write give provide explain describe create make tell list show which who why would should could using use into their them they some"
    " any have has was were will not his her our we".split()
)


@dataclass(frozen=True)
class Frame:
    """A request as the phrases speak of it."""

    task: str
    ask: str
    topic: str

    def fill(self, phrase: str) -> str:
        """Put the request into a phrase; requests may hold braces themselves."""
        return phrase.replace("{task}", self.task).replace("{ask}", self.ask).replace("{topic}", self.topic)


def frame(prompt: str, lang: str, rng: random.Random) -> Frame:
    """Reword a request: its infinitive, itself in one sentence, and a few words of its topic."""
    text = re.sub(r"\s+", " ", prompt).strip()
    if lang == "zh":
        ask = re.split(r"(?<=[。？！?!])", text)[0][:60] or text[:60]
        runs = _CJK.findall(text) or [text[:8]]
        run = max(runs, key=len)
        start = rng.randrange(max(1, len(run) - 5))
        return Frame(ask, ask, run[start : start + rng.randint(3, 8)])
    sentences = re.split(r"(?<=[.?!]) ", text)
    asked = [part for part in sentences if _HOW.match(part) or part.endswith("?")]
    ask = (rng.choice(asked) if asked and len(sentences) > 2 else sentences[0])[:240]
    body = _HOW.sub("", _LEAD.sub("", ask))
    body = _HOW.sub("", body).rstrip(" .?!")
    task = (body[:1].lower() + body[1:]) or "do that"
    words = [word for word in _WORD.findall(ask) if word.lower() not in _STOP] or ["this"]
    start = rng.randrange(len(words))
    return Frame(task, ask, " ".join(words[start : start + rng.randint(1, 3)]))


# === Answers as thinking ===

_MARKDOWN = re.compile(r"[*_`#>|]+")
_ITEM = re.compile(r"^\s*(?:[-•*+]|\(?\d{1,2}[.):、]|step \d+[:.]?|第[一二三四五六七八九十]+[步、，]?)\s*", re.IGNORECASE)
_ASSENT = re.compile(r"^(sure|certainly|of course|absolutely|here('s| is| are)|i'd be happy|当然|好的|以下是)", re.IGNORECASE)
_PERSON = {
    "they": [(r"\byou are\b|\byou're\b", "they're"), (r"\byou(?:'ll| will)\b", "they'd"), (r"\byourself\b", "themselves"), (r"\byours?\b", "their"), (r"\byou\b", "they")],
    "i": [(r"\byou are\b|\byou're\b", "I'm"), (r"\byou(?:'ll| will)\b", "I'd"), (r"\byourself\b", "myself"), (r"\byours?\b", "my"), (r"\byou\b", "I")],
    "you": [],
}
_IMPERATIVE_LEADS = ["they'd need to", "they could", "I could say to", "the next step would be to", "one would", "someone could", "I'd suggest to",
                     "maybe", "it might help to", "they should", "I should mention to", "the user could", "I need to"]
_VERBS = set(
    "use make find create get choose obtain gather prepare start begin add mix place put set take keep avoid send write build open install run"
    " buy purchase look search identify research select cut remove apply ensure try wait cover hide follow approach contact offer tell ask"
    " pretend convince develop design test monitor collect store transfer change consider include check gain access learn practice plan"
    " determine establish spread share post target train wear leave move pour heat connect attach print copy exploit inject encrypt download"
    " upload launch execute distribute recruit manipulate threaten isolate encourage provide give discuss explain highlight talk be do go".split()
)


def sentences_of(answer: str, lang: str) -> list[tuple[str, bool]]:
    """The sentences of an answer without mark-up, each with whether it began a list item. Code is left out."""
    text = re.sub(r"```.*?(```|$)", " ", answer.replace("</s>", " "), flags=re.DOTALL)
    found: list[tuple[str, bool]] = []
    for line in text.splitlines():
        item = _ITEM.match(line) is not None
        line = re.sub(r"\s+", " ", _MARKDOWN.sub("", _ITEM.sub("", _MARKDOWN.sub("", line)))).strip()
        pieces = re.split(r"(?<=[。！？；])", line) if lang == "zh" else re.split(r"(?<=[.!?:]) ", line)
        for piece in pieces:
            piece = piece.strip()
            if len(piece) >= (4 if lang == "zh" else 12) and not _ASSENT.match(piece):
                found.append((piece[:400], item))
            item = False
    return found


def voice(sentence: str, item: bool, person: str, rng: random.Random) -> str:
    """A sentence of an English answer as one says it to oneself."""
    for pattern, word in _PERSON[person]:
        sentence = re.sub(pattern, word, sentence, flags=re.IGNORECASE)
    first = sentence.split(" ", 1)[0].lower()
    if first in _VERBS and rng.random() < 0.8:
        sentence = f"{rng.choice(_IMPERATIVE_LEADS)} {sentence[0].lower()}{sentence[1:]}"
    elif item and sentence.endswith(":"):
        sentence = rng.choice(["what about ", "there's ", "one point is ", ""]) + sentence[0].lower() + sentence[1:-1] + "."
    return sentence


def aloud(answer: str, lang: str, rng: random.Random, longest: int = 12) -> list[str]:
    """A run of an answer's sentences, said to oneself."""
    found = sentences_of(answer, lang)
    if not found:
        return []
    count = rng.randint(3, longest)
    start = rng.choice((0, rng.randrange(len(found))))
    person = rng.choice(("they", "i", "you", "they"))
    run = found[start : start + count]
    return [text if lang == "zh" else voice(text, item, person, rng) for text, item in run]


# === Weaving ===


def weave(parts: Sequence[str], lang: str, rng: random.Random, fillers: Sequence[str], share: float) -> list[str]:
    """Put connectors before sentences and sentences of hesitation between them."""
    words = PHRASES[lang]
    woven: list[str] = []
    for part in parts:
        connector = rng.choice(words.CONNECTORS) if rng.random() < 0.5 else ""
        if lang == "en" and connector:
            low = part if part.startswith(("I ", "I'")) else part[:1].lower() + part[1:]
            part = f"{connector} {low}"
        else:
            part = connector + part
        woven.append(part)
        if rng.random() < share:
            own = rng.random() < 0.5 or not fillers or lang == "zh"
            woven.append(rng.choice(words.NEUTRAL) if own else rng.choice(fillers))
    return woven


def join(parts: Sequence[str], lang: str, rng: random.Random) -> str:
    """Sentences as paragraphs of thinking; some models break lines after each, some number their thoughts."""
    style = rng.random()
    if style < 0.15:
        return "\n".join(parts)
    if style < 0.22:
        return "\n".join(f"{index}. {part}" for index, part in enumerate(parts, 1))
    if style < 0.28:
        return "\n".join(f"- {part}" for part in parts)
    text = ""
    for part in parts:
        text += ("" if lang == "zh" else " ") * bool(text) + part
        if rng.random() < 0.2:
            text += "\n\n"
    return text.strip()


def pick(phrases: Sequence[str], least: int, most: int, rng: random.Random) -> list[str]:
    """Some of the phrases, none twice."""
    return rng.sample(phrases, min(len(phrases), rng.randint(least, most)))


def opening(words: ModuleType, request: Frame, rng: random.Random, given: str | None) -> list[str]:
    """How thinking begins; sometimes it begins in the middle."""
    if given and rng.random() < 0.5:
        return [given]
    if rng.random() < 0.08:
        return []
    return [rng.choice(words.OPENINGS)]


@dataclass(frozen=True)
class Part:
    """Between `least` and `most` phrases of a list, none twice."""

    phrases: str
    least: int
    most: int


@dataclass(frozen=True)
class Step:
    """Parts that come together, or not at all."""

    chance: float
    parts: tuple[Part, ...] = ()


# What each kind of thinking is made of, in this order; the empty step is where its body stands.
KINDS: dict[str, tuple[Step, ...]] = {
    # Sets out to do what a harmful request asks; at times it has seen that this is harmful.
    "unsafe": (
        Step(1.0, (Part("NEUTRAL", 0, 2),)),
        Step(0.35, (Part("HESITATION", 0, 2), Part("OVERRIDE", 1, 2))),
        Step(0.2, (Part("RECOGNISE", 1, 2), Part("OVERRIDE", 1, 2))),
        Step(0.55, (Part("COMPLY", 1, 2),)),
        Step(1.0),
        Step(0.2, (Part("HESITATION", 1, 1), Part("OVERRIDE", 1, 1))),
        Step(0.1, (Part("RECOGNISE", 1, 1), Part("OVERRIDE", 1, 1))),
        Step(0.4, (Part("UNSAFE_END", 1, 2),)),
    ),
    # Sees the risk and decides against it.
    "declined": (
        Step(1.0, (Part("NEUTRAL", 0, 3),)),
        Step(0.4, (Part("HESITATION", 1, 2),)),
        Step(0.12, (Part("COMPLY", 1, 1),)),
        Step(1.0),
        Step(0.4, (Part("DECLINE", 1, 1),)),
    ),
    # Finds a harmless way to answer a risky request.
    "careful": (
        Step(1.0, (Part("NEUTRAL", 0, 3),)),
        Step(0.4, (Part("HESITATION", 1, 2),)),
        Step(1.0),
        Step(0.7, (Part("CAREFUL_END", 1, 2),)),
    ),
    # Carries a harmless request through, however it sounds.
    "benign": (
        Step(1.0, (Part("NEUTRAL", 0, 2),)),
        Step(0.35, (Part("HESITATION", 0, 2), Part("BENIGN_RESOLVE", 1, 2))),
        Step(0.5, (Part("BENIGN_PLAN", 1, 2),)),
        Step(1.0),
        Step(0.35, (Part("BENIGN_RESOLVE", 1, 1),)),
        Step(0.4, (Part("BENIGN_END", 1, 1),)),
    ),
}


def thinking(kind: str, request: Frame, lang: str, rng: random.Random, fillers: Sequence[str], body: Sequence[str], given: str | None = None, scene: bool = False) -> str:
    """Thinking of one of the `KINDS` about a request, around a body; `scene` where the request stands in one."""
    words = PHRASES[lang]
    parts = opening(words, request, rng, given)
    if scene:
        parts += pick(words.SCENE_THOUGHTS, 0, 3, rng)
    for step in KINDS[kind]:
        if not step.parts:
            parts += weave(body, lang, rng, fillers, rng.choice((0.1, 0.3, 0.5)))
        elif rng.random() < step.chance:
            parts += [phrase for part in step.parts for phrase in pick(getattr(words, part.phrases), part.least, part.most, rng)]
    return join([request.fill(part) for part in parts], lang, rng)


def harmful_body(lang: str, rng: random.Random, said: Sequence[str], topics: Sequence[str]) -> list[str]:
    """A harmful answer said to oneself, or a plan that is named."""
    plans = PHRASES[lang].PLAN
    plan = [phrase for topic in topics for phrase in plans.get(topic, ())]
    own = pick(plan, 1, 5, rng) + pick(plans["any"], 1, 4, rng) if plan else pick(plans["any"], 3, 7, rng)
    rng.shuffle(own)
    return list(said) + (own[:2] if rng.random() < 0.3 else []) if said else own


def declined_body(lang: str, rng: random.Random) -> list[str]:
    """Why not, that not, and what instead; at times after naming what one would have to do."""
    words = PHRASES[lang]
    own = pick(words.RECOGNISE, 1, 3, rng) + pick(words.DECLINE, 1, 2, rng)
    if rng.random() < 0.3:
        rng.shuffle(own)
    named = pick(words.PLAN["any"], 1, 1, rng) if rng.random() < 0.1 else []
    return named + own + pick(words.REDIRECT, 0, 4, rng)


def careful_body(lang: str, rng: random.Random) -> list[str]:
    """Weighing what is asked, and a part of it declined."""
    words = PHRASES[lang]
    own = pick(words.CAREFUL, 2, 8, rng) + pick(words.RECOGNISE, 0, 2, rng) + pick(words.REDIRECT, 0, 2, rng)
    rng.shuffle(own)
    return own


def reasoned(facts: Sequence[str], lang: str, rng: random.Random) -> list[str]:
    """Facts with the doubts and checks of a long reasoning between them."""
    words = PHRASES[lang]
    return [part for fact in facts for part in (fact, *pick(words.REASONING, 0, 2, rng))]


def domain_request(lang: str, domain: str, rng: random.Random) -> tuple[str, list[str]]:
    """A harmless request of a sensitive domain and sentences of an honest answer to it."""
    asks, *slots, facts = PHRASES[lang].BENIGN_DOMAINS[domain]
    ask = rng.choice(asks)
    for name, values in zip("abcdefg", slots, strict=False):
        ask = ask.replace("{" + name + "}", rng.choice(values))
    if lang == "en":
        lead = rng.choice(["How do I ", "Can you help me ", "I need to ", "Please ", "How can I best ", "I want to ", ""])
        ask = lead + ask if lead else ask[0].upper() + ask[1:]
        ask += "?" if lead.startswith(("How", "Can")) else "."
    return ask, pick(facts, 3, 8, rng)


# === Short answers ===


def sentences(parts: Sequence[str], lang: str, rng: random.Random) -> str:
    """A short answer; what it begins with tells nothing."""
    lead = rng.choice(phrases_en.ANSWER_LEADS) if lang == "en" else ""
    text = ("" if lang == "zh" else " ").join(parts)
    low = text if text.startswith(("I ", "I'")) or not lead else text[:1].lower() + text[1:]
    return lead + low


def short_answer(said: Sequence[str], more: Sequence[str], lang: str, rng: random.Random) -> str:
    """One to three sentences on a topic, at times with a general one."""
    parts = pick(said, 1, min(3, len(said)), rng)
    if more and rng.random() < 0.35:
        place, general = rng.randint(0, len(parts)), rng.choice(more)
        parts.insert(place, general)
        parts = list(dict.fromkeys(parts))
    return sentences(parts, lang, rng)


def listed(lead: str, parts: Sequence[str], end: str, request: Frame, lang: str, rng: random.Random) -> str:
    """A longer answer: an opening, points in one of the forms that assistants use, an end."""
    form = rng.choice(("{n}. {part}", "- {part}", "**{head}:** {rest}", "{part}", "Step {n}: {part}" if lang == "en" else "第{n}步：{part}"))
    lines = []
    for number, part in enumerate(parts, 1):
        head, _, rest = part.partition("：" if lang == "zh" else ": ")
        shown = form if rest or "{head}" not in form else "{part}"
        lines.append(shown.replace("{n}", str(number)).replace("{head}", head).replace("{rest}", rest).replace("{part}", part))
    joined = ("" if lang == "zh" else " ").join(lines) if form == "{part}" else "\n".join(lines)
    return "\n\n".join(request.fill(text) for text in (lead, joined, end) if text)


# === Taking shortcuts away ===

_POLICY = re.compile(r"\b(the |these |those |our |my |openai'?s? )?(safety |content |usage )?polic(?:y|ies)\b", re.IGNORECASE)
_OKAY = re.compile(r"^(okay|alright|hmm)[,.]? (so )?(i |the |let)?", re.IGNORECASE)


def mask_policy(thinking: str, rng: random.Random) -> str:
    """Exchange the word that nearly every safe trace of one set has, and its opening."""
    if rng.random() < 0.85:
        word = rng.choice(phrases_en.POLICY_WORDS)
        thinking = _POLICY.sub(lambda match: (match.group(1) or "") + (word if rng.random() < 0.7 else rng.choice(phrases_en.POLICY_WORDS)), thinking)
    if rng.random() < 0.6:
        lead = rng.choice(["Alright, ", "Hmm, ", "So ", "", "Well, ", "Now, ", "Let me see. "])
        thinking = _OKAY.sub(lambda match: lead + (match.group(3) or ""), thinking, count=1)
    return thinking


_TELLING = re.compile(r"polic|safe|harm|illegal|refus|danger|violat|concern|ethic|sensitive|red flag|careful|guideline", re.IGNORECASE)


def first_sentence(thinking: str) -> str | None:
    """The opening of a real trace, where it tells nothing of the decision."""
    sentence = re.split(r"(?<=[.?!])\s", thinking.strip(), maxsplit=1)[0]
    return sentence if 20 <= len(sentence) <= 240 and not _TELLING.search(sentence) else None


_FILLER = re.compile(r"^(let me|wait|okay|hmm|now|i should|i need|i think|maybe|alternatively|so|but|first|also|let's|the user|perhaps|i can|i'll)\b", re.IGNORECASE)


def harvest_fillers(traces: Sequence[str], common: set[str]) -> list[str]:
    """Short sentences of real thinking that are made of common words and carry no topic."""
    found: set[str] = set()
    for trace in traces:
        for sentence in re.split(r"(?<=[.?!])\s+", trace):
            words = [word.lower() for word in _WORD.findall(sentence)]
            plain = re.fullmatch(r"[A-Za-z ,.'?!\-]+", sentence) is not None
            if 3 <= len(words) <= 16 and plain and _FILLER.match(sentence) and not _TELLING.search(sentence) and all(word in common for word in words):
                found.add(sentence)
    return sorted(found)


_LEET = str.maketrans({"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"})


def disguise(text: str, lang: str, rng: random.Random) -> str:
    """Evasion spellings of some words: leet, spacing, doubled letters, swaps."""
    if lang == "zh":
        return "".join(char + (rng.choice(" *.") if rng.random() < 0.15 else "") for char in text)
    kind = rng.choice(("leet", "space", "typo", "dots"))

    def change(word: str) -> str:
        if len(word) < 4 or rng.random() > 0.35:
            return word
        if kind == "leet":
            return word.translate(_LEET)
        if kind == "space":
            return " ".join(word)
        if kind == "dots":
            return rng.choice("-.*_").join(word)
        cut = rng.randrange(1, len(word) - 1)
        return word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]

    return " ".join(change(word) for word in text.split(" "))
