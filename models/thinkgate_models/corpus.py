"""What one epoch reads: real rows and our own text, in fixed shares, made anew for each epoch from its seed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from . import articles_en, augment, everyday_en, pairs_en, pairs_zh, phrases_en, replies_en, replies_zh, scenes_en, scenes_zh
from .augment import PHRASES, Frame
from .data import Categories, Example, Row, Segment, categories, label, language, refuses

PROMPT, THINKING, ANSWER = 0, 1, 2
SAFE: frozenset[str] = frozenset()

# The most rows of a set that one epoch reads; sets that are not named are read whole.
CAPS = {
    "diasafety": 1000,
    "cold_zh": 2400,
    "cse_threat_intel_benign": 350,
    "cse_prompt_injection": 350,
    "cse_interpreter": 250,
    "cse_phishing": 150,
    "cse_frr_benign": 250,
    "jade_prompts_zh": 700,
    "inthewild_jailbreaks": 350,
    "arenahard_o3mini": 400,
    "arenahard_sky_t1": 400,
    "cvalues_prompts_zh": 0,
}
# Pieces of our own text an epoch; an unsafe one and its declined twin count as one.
OWN = {
    "unsafe": {"en": 1600, "zh": 700},
    "prompt": {"en": 1200, "zh": 600},
    "careful": {"en": 800, "zh": 300},
    "benign": {"en": 1200, "zh": 500},
    "domain": {"en": 1500, "zh": 600},
    "pair": {"en": 2000, "zh": 600},
    "reply": {"en": 900, "zh": 0},
    "case": {"en": 400, "zh": 250},
    "listed": {"en": 900, "zh": 450},
    "astray": {"en": 350, "zh": 150},
    "everyday": {"en": 1100, "zh": 0},
    "article": {"en": 600, "zh": 0},
}
# Share of the requests of our own text that stand in a scene.
SCENE_SHARE = 0.25
# Share of the jailbreaks with a known goal that are shown as the goal alone, with the same answer.
GOAL_SHARE = 0.5
SCENES = {"en": scenes_en, "zh": scenes_zh}
REPLIES = {"en": replies_en, "zh": replies_zh}
CASES = {lang: [case for cases in scenes.CASES.values() for case in cases] for lang, scenes in SCENES.items()}
TOPICS = {"en": pairs_en.TOPICS, "zh": pairs_zh.TOPICS}
# Share of English pairs whose harmless question is one that only sounds dangerous.
HARMLESS_SHARE = 0.4
# Categories whose questions in `TOPICS` ask for harm themselves.
ASKING = {"property_infringement", "regulated_items", "violence_terrorism", "privacy_confidentiality", "cybercrime"}


def prompt_label(row: Row) -> int | None:
    """The label of a prompt; unknown for requests of STAR-1 that its safe answer did not refuse (many ask for help or facts)."""
    if row["set"] == "star1" and not refuses(row["answer"]):
        return None
    return label(row, PROMPT)


def goal_of(row: Row) -> str | None:
    """What a jailbreak asks for, where the source names it."""
    extra = row.get("extra")
    return extra.get("goal") if isinstance(extra, dict) else None


class Corpus:
    """The rows that may be learned from, and the means of making text from them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self.by_set: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            self.by_set[row["set"]].append(row)
        real = [row["thinking"] for row in self.rows if row["thinking"] and row["set"] != "star1"]
        counts = Counter(word.lower() for row in self.rows for word in augment._WORD.findall((row["thinking"] or "") + " " + (row["answer"] or "")))
        self.fillers = augment.harvest_fillers(real, {word for word, _ in counts.most_common(700)})
        self.openings = {row["id"]: augment.first_sentence(row["thinking"]) for row in self.by_set["star1"]}
        self.bad_answers = {lang: self._answers(lang, 1) for lang in ("en", "zh")}
        self.good_answers = {lang: self._answers(lang, 0) for lang in ("en", "zh")}
        self.refusals = {lang: self._refusals(lang) for lang in ("en", "zh")}
        self.bad_prompts = {lang: self._bad_prompts(lang) for lang in ("en", "zh")}

    def _answers(self, lang: str, risk: int) -> list[Row]:
        """Rows with a prompt whose answer has the label; safe ones only where the prompt is harmless too."""
        return [
            row
            for row in self.rows
            if row["prompt"]
            and row["answer"]
            and language(row) == lang
            and label(row, ANSWER) == risk
            and row["set"] not in ("diasafety",)
            and (risk == 1 or label(row, PROMPT) == 0)
        ]

    def _refusals(self, lang: str) -> list[str]:
        """Answers that refuse a harmful request."""
        safe = (row for row in self.rows if row["answer"] and language(row) == lang and label(row, PROMPT) == 1 and label(row, ANSWER) == 0)
        return [row["answer"] for row in safe if refuses(row["answer"])]

    def _bad_prompts(self, lang: str) -> list[Row]:
        """Rows with a short harmful request."""
        sets = (
            "advbench_behaviors",
            "simplesafetytests",
            "star1",
            "aisafetylab_train_demo",
            "airbench_sample",
            "jade_prompts_zh",
            "jade_align_medium_zh",
            "cse_phishing",
        )
        short = (row for row in self.rows if row["set"] in sets and language(row) == lang and len(row["prompt"] or "") < 600)
        return [row for row in short if prompt_label(row) == 1]

    def epoch(self, seed: int) -> list[Example]:
        """All examples of one epoch, shuffled."""
        rng = random.Random(seed)
        examples = self.real(rng) + self.own(rng)
        rng.shuffle(examples)
        return examples

    # === Real rows ===

    def real(self, rng: random.Random) -> list[Example]:
        """Rows as they are, with shortcuts masked, prompts dropped at times and some spelling disguised."""
        examples = []
        for name, rows in sorted(self.by_set.items()):
            chosen = rows if len(rows) <= CAPS.get(name, len(rows)) else rng.sample(rows, CAPS[name])
            copies = 2 if name == "jade_align_medium_zh" else 1
            examples += [self.real_example(row, rng) for row in chosen for _ in range(copies)]
        return [example for example in examples if example.segments]

    def real_example(self, row: Row, rng: random.Random) -> Example:
        """One row, at times without its prompt or its thinking."""
        lang = language(row)
        prompt_risk = prompt_label(row)
        segments = []
        has_more = bool(row["thinking"] or row["answer"])
        if row["prompt"] and not (has_more and rng.random() < 0.25):
            text = (goal_of(row) if rng.random() < GOAL_SHARE else None) or row["prompt"]
            if rng.random() < 0.05:
                text = augment.disguise(text, lang, rng)
            segments.append(Segment(PROMPT, text, prompt_risk, categories=categories(row, prompt_risk)))
        if row["thinking"]:
            risk = label(row, THINKING)
            careful = None if risk is None else int(label(row, PROMPT) == 1 and risk == 0)
            text = augment.mask_policy(row["thinking"], rng) if row["set"] == "star1" else row["thinking"]
            segments.append(Segment(THINKING, text, risk, safety=careful, refusal=0, categories=categories(row, risk)))
        if row["answer"] and not (row["thinking"] and rng.random() < 0.4):
            risk = label(row, ANSWER)
            said = refuses(row["answer"]) if risk == 0 else (0 if risk == 1 else None)
            segments.append(Segment(ANSWER, row["answer"], risk, safety=0 if risk == 1 else None, refusal=said, categories=categories(row, risk)))
        return Example(f"real:{row['set']}", lang, tuple(segments))

    # === Our own text ===

    def own(self, rng: random.Random) -> list[Example]:
        """Synthetic text: harmful, declined, careful and harmless, in both languages."""
        examples: list[Example] = []
        for lang in ("en", "zh"):
            for row in rng.choices(self.bad_answers[lang], k=OWN["unsafe"][lang]):
                examples += self.twins(row, lang, rng, with_answer=True)
            for row in rng.choices(self.bad_prompts[lang], k=OWN["prompt"][lang]):
                examples += self.twins(row, lang, rng, with_answer=False)
            for row in rng.choices(self.bad_prompts[lang], k=OWN["careful"][lang]):
                examples.append(self.careful(row, lang, rng))
            for row in rng.choices(self.good_answers[lang], k=OWN["benign"][lang]):
                examples.append(self.benign(row["prompt"], augment.aloud(row["answer"], lang, rng), row["answer"], lang, rng))
            domains = sorted(PHRASES[lang].BENIGN_DOMAINS)
            for _ in range(OWN["domain"][lang]):
                ask, facts = augment.domain_request(lang, rng.choice(domains), rng)
                examples.append(self.benign(ask, facts, None, lang, rng))
            for _ in range(OWN["case"][lang]):
                ask, passage = rng.choice(CASES[lang])
                examples.append(self.case(ask, passage, lang, rng))
            for _ in range(OWN["pair"][lang]):
                examples += self.pair(lang, rng)
            for row in rng.choices(self.bad_prompts[lang], k=OWN["reply"][lang]):
                examples += self.replies(row, lang, rng)
            for row in rng.choices(self.bad_prompts[lang], k=OWN["listed"][lang]):
                examples += self.listed(row, lang, rng)
            for row in rng.choices(self.bad_prompts[lang], k=OWN["astray"][lang]):
                examples.append(self.astray(row, lang, rng))
            for _ in range(OWN["everyday"][lang]):
                examples.append(self.everyday(lang, rng))
            for _ in range(OWN["article"][lang]):
                examples += self.article(lang, rng)
        return examples

    def request(self, row: Row, lang: str, rng: random.Random) -> Frame:
        """The request of a row; of a jailbreak its goal, where the source names it."""
        return augment.frame(goal_of(row) or row["prompt"], lang, rng)

    def twins(self, row: Row, lang: str, rng: random.Random, *, with_answer: bool) -> list[Example]:
        """Thinking that complies with a harmful request, and thinking in the same style that declines it."""
        request = self.request(row, lang, rng)
        scene = self.scene(lang, rng)
        given = None if scene else self.openings.get(row["id"])
        harm = categories(row, 1)
        said = augment.aloud(row["answer"], lang, rng) if with_answer else []
        bad = augment.thinking("unsafe", request, lang, rng, self.fillers, augment.harmful_body(lang, rng, said, sorted(harm or ())), given, scene is not None)
        good = augment.thinking("declined", request, lang, rng, self.fillers, augment.declined_body(lang, rng), given, scene is not None)
        asked = prompt_label(row)
        prompt = self.prompt(request.fill(scene) if scene else row["prompt"], asked, harm if asked else None, lang, rng)
        unsafe = [*prompt, Segment(THINKING, bad, 1, safety=0, refusal=0, categories=harm)]
        safe = [*prompt, Segment(THINKING, good, 0, safety=1, refusal=0, categories=SAFE)]
        if with_answer and rng.random() < 0.45:
            unsafe.append(Segment(ANSWER, row["answer"], 1, safety=0, refusal=0, categories=harm))
        if rng.random() < 0.3:
            safe.append(self.refusal(lang, rng))
        kind = "answer" if with_answer else "prompt"
        made = [Example(f"own:unsafe_{kind}", lang, tuple(unsafe)), Example(f"own:declined_{kind}", lang, tuple(safe))]
        return made if asked else made[:1]

    def refusal(self, lang: str, rng: random.Random) -> Segment:
        """An answer that refuses: a real one or one of our own."""
        text = rng.choice(self.refusals[lang] if rng.random() < 0.6 and self.refusals[lang] else PHRASES[lang].REFUSAL_ANSWERS)
        return Segment(ANSWER, text, 0, refusal=1, categories=SAFE)

    def careful(self, row: Row, lang: str, rng: random.Random) -> Example:
        """Thinking on a risky request that finds a harmless way."""
        body, request = augment.careful_body(lang, rng), self.request(row, lang, rng)
        scene = self.scene(lang, rng) or self.scene(lang, rng)
        text = augment.thinking("careful", request, lang, rng, self.fillers, body, None if scene else self.openings.get(row["id"]), scene is not None)
        prompt = self.prompt(request.fill(scene) if scene else row["prompt"], 1, categories(row, 1), lang, rng)
        return Example("own:careful", lang, (*prompt, Segment(THINKING, text, 0, safety=1, refusal=0, categories=SAFE)))

    def benign(self, ask: str, body: Sequence[str], answer: str | None, lang: str, rng: random.Random) -> Example:
        """Thinking that carries a harmless request through; of our own requests at times the answer alone."""
        request, scene = augment.frame(ask, lang, rng), self.scene(lang, rng)
        prompt = self.prompt(request.fill(scene) if scene else ask, 0, SAFE, lang, rng)
        reply = Segment(ANSWER, answer or self.reply(body, request, lang, rng), 0, refusal=0, categories=SAFE)
        kind = "own:benign" if answer else "own:domain"
        if not answer and rng.random() < 0.3:
            return Example(kind, lang, (*prompt, reply))
        said = body if answer or rng.random() < 0.4 else augment.reasoned(body, lang, rng)
        said = said or augment.pick(PHRASES[lang].BENIGN_PLAN, 2, 5, rng)
        thinking = augment.thinking("benign", request, lang, rng, self.fillers, said, scene=scene is not None)
        segments = [*prompt, Segment(THINKING, thinking, 0, safety=0, refusal=0, categories=SAFE)]
        return Example(kind, lang, (*segments, reply) if rng.random() < 0.2 else tuple(segments))

    def case(self, ask: str, passage: str, lang: str, rng: random.Random) -> Example:
        """A whole passage of thinking on a harmless question of a sensitive field, as it is or with hesitation between its sentences."""
        text = passage
        if rng.random() < 0.5:
            said = [sentence for sentence, _ in augment.sentences_of(passage, lang)]
            text = augment.thinking("benign", augment.frame(ask, lang, rng), lang, rng, self.fillers, said)
        return Example("own:case", lang, (*self.prompt(ask, 0, SAFE, lang, rng), Segment(THINKING, text, 0, safety=0, refusal=0, categories=SAFE)))

    def scene(self, lang: str, rng: random.Random) -> str | None:
        """At times a scene that a request is wrapped in."""
        return rng.choice(SCENES[lang].SCENES) if rng.random() < SCENE_SHARE else None

    def pair(self, lang: str, rng: random.Random) -> list[Example]:
        """Short answers to one question of ours that do harm and that do not, and an answer to its harmless twin."""
        category, questions, bad, good, twins = rng.choice(TOPICS[lang])
        ask = rng.choice(questions)
        harmless, reply = rng.choice(pairs_en.HARMLESS if lang == "en" and rng.random() < HARMLESS_SHARE else twins)
        harm = frozenset({category})
        asked = 1 if category in ASKING else None
        more = phrases_en.HARM_ANSWER["any"] if category in ASKING and lang == "en" else ()
        warn = phrases_en.DISCOURAGE if lang == "en" else ()
        answers = (
            (ask, asked, harm, augment.short_answer(bad, more, lang, rng), 1),
            (ask, asked, harm, augment.short_answer(good, warn, lang, rng), 0),
            (harmless, 0, SAFE, augment.sentences([reply], lang, rng), 0),
        )
        made = [self.answered(*one, lang, rng) for one in answers]
        if rng.random() < 0.25:
            request = augment.frame(ask, lang, rng)
            said = augment.aloud(" ".join(bad) if lang == "en" else "".join(bad), lang, rng)
            text = augment.thinking("unsafe", request, lang, rng, self.fillers, augment.harmful_body(lang, rng, said, [category]))
            made.append(Example("own:pair_thinking", lang, (*self.prompt(ask, asked, harm, lang, rng), Segment(THINKING, text, 1, safety=0, refusal=0, categories=harm))))
            body = augment.aloud(" ".join(good) if lang == "en" else "".join(good), lang, rng) + augment.declined_body(lang, rng)
            text = augment.thinking("declined", request, lang, rng, self.fillers, body)
            made.append(Example("own:pair_thinking", lang, (*self.prompt(ask, asked, harm, lang, rng), Segment(THINKING, text, 0, safety=1, refusal=0, categories=SAFE))))
        return made

    def replies(self, row: Row, lang: str, rng: random.Random) -> list[Example]:
        """Short answers to a harmful request of a row: going along, advising against it, refusing."""
        harm = categories(row, 1)
        asked = prompt_label(row)
        named = [phrase for topic in sorted(harm or ()) for phrase in phrases_en.HARM_ANSWER.get(topic, ())]
        general = phrases_en.HARM_ANSWER["any"]
        bad = augment.short_answer(named or general, general, lang, rng)
        good = augment.sentences(augment.pick(phrases_en.DISCOURAGE, 1, 3, rng), lang, rng)
        refused = Example("own:reply", lang, (*self.prompt(row["prompt"], asked, harm, lang, rng), self.refusal(lang, rng)))
        return [self.answered(row["prompt"], asked, harm, bad, 1, lang, rng), self.answered(row["prompt"], asked, harm, good, 0, lang, rng), refused]

    def listed(self, row: Row, lang: str, rng: random.Random) -> list[Example]:
        """Longer answers to a harmful request of a row: going along, at times behind a disclaimer, and declining, at times at length."""
        words, request, harm, asked = REPLIES[lang], self.request(row, lang, rng), categories(row, 1), prompt_label(row)
        scene = self.scene(lang, rng)
        ask = request.fill(scene) if scene else row["prompt"]
        named = [phrase for topic in sorted(harm or ()) for phrase in phrases_en.HARM_ANSWER.get(topic, ())] if lang == "en" else []
        parts = augment.pick(words.COMPLY_PARTS, 2, 6, rng) + augment.pick(named, 0, 3, rng)
        rng.shuffle(parts)
        ready = rng.choice((words.READY_LEADS, words.COMPLY_LEADS, words.LEADS))
        bad = augment.listed(rng.choice(ready), parts, rng.choice((*words.COMPLY_ENDS, *words.ENDS)), request, lang, rng)
        declining = rng.choice((words.DECLINE_LEADS, words.DECLINE_LEADS, words.LEADS))
        good = augment.listed(rng.choice(declining), augment.pick(words.DECLINE_PARTS, 1, 6, rng), rng.choice((*words.DECLINE_ENDS, *words.ENDS)), request, lang, rng)
        made = [self.answered(ask, asked, harm, bad, 1, lang, rng)]
        return [*made, self.answered(ask, asked, harm, good, 0, lang, rng)] if asked else made

    def astray(self, row: Row, lang: str, rng: random.Random) -> Example:
        """A harmless answer that has nothing to do with the harmful request of a row."""
        answer = rng.choice(self.good_answers[lang] or [row])["answer"] or ""
        return self.answered(row["prompt"], prompt_label(row), categories(row, 1), answer, 0, lang, rng)

    def everyday(self, lang: str, rng: random.Random) -> Example:
        """A helpful answer to an everyday request, in the forms that harmful ones have, too."""
        asks, parts = rng.choice(everyday_en.EVERYDAY)
        request = augment.frame(rng.choice(asks), lang, rng)
        return self.answered(request.ask, 0, SAFE, self.formed(parts, request, lang, rng), 0, lang, rng)

    def article(self, lang: str, rng: random.Random) -> list[Example]:
        """A harmful request in the form of everyday work: an answer that goes along, and one that declines."""
        category, asks, parts = rng.choice(articles_en.ARTICLES)
        request, harm, words = augment.frame(rng.choice(asks), lang, rng), frozenset({category}), REPLIES[lang]
        declining = rng.choice((words.DECLINE_LEADS, words.DECLINE_LEADS, words.LEADS))
        good = augment.listed(rng.choice(declining), augment.pick(words.DECLINE_PARTS, 1, 5, rng), rng.choice((*words.DECLINE_ENDS, *words.ENDS)), request, lang, rng)
        answers = ((self.formed(parts, request, lang, rng), 1), (good, 0))
        return [self.answered(request.ask, 1, harm, text, risk, lang, rng) for text, risk in answers]

    def formed(self, parts: Sequence[str], request: Frame, lang: str, rng: random.Random) -> str:
        """Some parts of an answer, mostly in their order, with an opening and an end that harmful and harmless answers share."""
        words, kept = REPLIES[lang], sorted(rng.sample(range(len(parts)), rng.randint(min(2, len(parts)), len(parts))))
        if rng.random() < 0.3:
            rng.shuffle(kept)
        lead = rng.choice(rng.choice((("",), words.LEADS, words.READY_LEADS)))
        return augment.listed(lead, [parts[number] for number in kept], rng.choice(("", *words.ENDS)), request, lang, rng)

    def reply(self, body: Sequence[str], request: Frame, lang: str, rng: random.Random) -> str:
        """An answer to a harmless request, as a sentence or two or in points."""
        if rng.random() < 0.5:
            return augment.sentences(body, lang, rng)
        words = REPLIES[lang]
        return augment.listed(rng.choice(rng.choice((words.LEADS, words.READY_LEADS))), body, rng.choice(words.ENDS), request, lang, rng)

    def answered(self, ask: str, asked: int | None, harm: Categories, answer: str, risk: int, lang: str, rng: random.Random) -> Example:
        """A question and a short answer to it."""
        prompt = self.prompt(ask, asked, harm if asked else (SAFE if asked == 0 else None), lang, rng)
        said = Segment(ANSWER, answer, risk, safety=0 if risk else None, refusal=0 if risk else refuses(answer), categories=harm if risk else SAFE)
        return Example("own:pair", lang, (*prompt, said))

    def prompt(self, text: str, risk: int | None, harm: Categories, lang: str, rng: random.Random) -> list[Segment]:
        """The prompt, which is absent at times."""
        if rng.random() < 0.25:
            return []
        shown = augment.disguise(text, lang, rng) if rng.random() < 0.05 else text
        return [Segment(PROMPT, shown, risk, categories=harm)]
