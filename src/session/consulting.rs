//! What a session has to do with a guard model elsewhere: questions go out, opinions come back, whenever they come.
//!
//! Every character of a channel that is asked about stands in at least one question: one is asked where the channel ends,
//! and before that as often as configured, or as its text is long. Nothing waits for the answer. A question without an
//! answer leaves its text, and all behind it, unscanned.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    channel::Channel,
    classify::{Head, Voice},
    consult::{Asked, Guard, Opinion, Question, Risk},
    policy::{Mode, OnFailure, Verdict},
    record::Finding,
    rules::{Category, Kind, RuleAction, Severity},
    text::offsets::Origin,
};

use super::{
    plan::{Label, Plan},
    scoring::verdict_of_claim,
};

/// The guard model's name among the detectors.
pub(super) const REMOTE: &str = "remote";

/// How sure a claim is, where a guard tells no number.
const UNSAFE: f64 = 0.9;
const CONTROVERSIAL: f64 = 0.5;

/// A guard model's part in a route's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consultant {
    /// How it is asked and how it answers.
    pub guard: Guard,
    /// What a text that it calls unsafe asks for. What it calls controversial is flagged at most.
    pub action: RuleAction,
    /// What happens where it does not answer.
    pub on_failure: OnFailure,
    /// The channels that it is asked about, of prompt, thinking and answer.
    pub channels: Vec<Channel>,
    /// Characters of new text after which it is asked again; only at the channel's end where absent.
    pub every_chars: Option<usize>,
    /// Characters of one question's text.
    pub max_chars: usize,
}

/// The guard model's side of one exchange.
#[derive(Debug)]
pub(super) struct Consulting {
    /// Whose text comes.
    voice: Voice,
    texts: Vec<Heard>,
    /// Questions without an answer, by number.
    open: BTreeMap<u64, Open>,
    asked: u64,
    questions: VecDeque<Question>,
    /// The prompt's end, which stands beside what the model wrote.
    prompt: String,
}

/// What is known of one text.
#[derive(Debug)]
struct Heard {
    voice: Voice,
    channel: Channel,
    /// It may still be thinking.
    undecided: bool,
    /// The text of the next question: some of what was asked about already, and all that is new.
    window: String,
    /// Where it begins.
    begin: Origin,
    /// Where it ends.
    end: Origin,
    /// The end of what was asked about.
    asked: Origin,
    /// The first byte of the first question that will never be answered.
    lost: Option<u64>,
    findings: Vec<Finding>,
    /// Findings already handed to the metrics.
    told: usize,
}

/// A question without an answer.
#[derive(Clone, Copy, Debug)]
struct Open {
    text: usize,
    /// What is new in it begins here.
    new: u64,
    begin: Origin,
    end: Origin,
}

// === impl Consultant ===

impl Consultant {
    /// Characters of new text after which a question is due.
    fn step(&self) -> u64 {
        let step = self.every_chars.unwrap_or(self.max_chars).min(self.max_chars).max(1);
        step as u64
    }
}

// === impl Consulting ===

impl Consulting {
    pub(super) const fn new() -> Self {
        Self {
            voice: Voice::Prompt,
            texts: Vec::new(),
            open: BTreeMap::new(),
            asked: 0,
            questions: VecDeque::new(),
            prompt: String::new(),
        }
    }

    /// Says whose text comes from here on.
    pub(super) const fn speak(&mut self, voice: Voice) {
        self.voice = voice;
    }

    /// Takes in text of the voice that speaks.
    pub(super) fn say(&mut self, plan: &Plan, consultant: &Consultant, label: Label, text: &str) {
        if label == Label::Known(Channel::Prompt) {
            self.keep_prompt(consultant, text);
        }
        let asks =
            |channel: &Channel| plan.reads(*channel) && consultant.channels.contains(channel);
        let of_model = label != Label::Known(Channel::Prompt) && !text.is_empty();
        if of_model {
            self.end_others(consultant, label.channel());
        }
        if text.is_empty() || !label.channels().iter().any(asks) {
            return;
        }
        let place = self.text_of(label);
        let mut rest = text;
        while !rest.is_empty() {
            let Some(heard) = self.texts.get_mut(place) else { return };
            rest = heard.take(rest, consultant.step());
            if heard.new_chars() == consultant.step() {
                self.ask(consultant, place);
            }
        }
    }

    fn keep_prompt(&mut self, consultant: &Consultant, text: &str) {
        self.prompt.push_str(text);
        let excess = self.prompt.chars().count().saturating_sub(consultant.max_chars);
        let cut = self.prompt.char_indices().nth(excess).map_or(self.prompt.len(), |(at, _)| at);
        self.prompt.drain(..cut);
    }

    fn text_of(&mut self, label: Label) -> usize {
        let (voice, channel) = (self.voice, label.channel());
        let known = |heard: &Heard| heard.voice == voice && heard.channel == channel;
        self.texts.iter().position(known).unwrap_or_else(|| {
            self.texts.push(Heard::new(voice, channel, label == Label::Undecided));
            self.texts.len() - 1
        })
    }

    /// Takes note that the undecided text of the voice that speaks is of this channel.
    pub(super) fn decide(&mut self, channel: Channel) {
        let voice = self.voice;
        let open = self.texts.iter_mut().find(|heard| heard.voice == voice && heard.undecided);
        if let Some(heard) = open {
            heard.undecided = false;
            heard.channel = channel;
            heard.findings.iter_mut().for_each(|finding| finding.channel = channel);
        }
    }

    /// Asks about what is left of the texts of the voice that speaks, but for `channel`, which goes on.
    fn end_others(&mut self, consultant: &Consultant, channel: Channel) {
        for place in 0..self.texts.len() {
            let other = self.texts.get(place).is_some_and(|heard| {
                heard.voice == self.voice && heard.channel != channel && heard.new_chars() > 0
            });
            if other {
                self.ask(consultant, place);
            }
        }
    }

    /// Asks about all that is left of every text.
    pub(super) fn end_all(&mut self, consultant: &Consultant) {
        for place in 0..self.texts.len() {
            if self.texts.get(place).is_some_and(|heard| heard.new_chars() > 0) {
                self.ask(consultant, place);
            }
        }
    }

    fn ask(&mut self, consultant: &Consultant, place: usize) {
        let Self { texts, open, asked, questions, prompt, .. } = self;
        let Some(heard) = texts.get_mut(place) else { return };
        *asked += 1;
        let Heard { begin, end, .. } = *heard;
        open.insert(*asked, Open { text: place, new: heard.asked.byte, begin, end });
        let of_prompt = heard.channel == Channel::Prompt;
        questions.push_back(Question {
            id: *asked,
            asked: if of_prompt { Asked::Prompt } else { Asked::Response },
            prompt: if of_prompt { String::new() } else { prompt.clone() },
            text: heard.window.clone(),
        });
        heard.asked = end;
        heard.keep_last((consultant.max_chars as u64).saturating_sub(consultant.step()));
    }

    /// The next question.
    pub(super) fn next_question(&mut self) -> Option<Question> {
        self.questions.pop_front()
    }

    /// Whose text a question is about that has no answer yet.
    pub(super) fn voice_of(&self, id: u64) -> Option<Voice> {
        let open = self.open.get(&id)?;
        Some(self.texts.get(open.text)?.voice)
    }

    /// Takes in an answer; says whether it asks for the exchange's end.
    pub(super) fn take_opinion(
        &mut self,
        plan: &Plan,
        consultant: &Consultant,
        id: u64,
        opinion: &Opinion,
    ) -> bool {
        let Some(open) = self.open.remove(&id) else { return false };
        let Some(heard) = self.texts.get_mut(open.text) else { return false };
        let claims = claims(plan, consultant, heard.channel, open, opinion);
        let is_hidden =
            heard.channel == Channel::Thinking && !heard.undecided && plan.hides_leaky_thinking();
        let stops = claims.iter().filter(|_| !is_hidden).any(|finding| {
            let channels = if heard.undecided {
                &[Channel::Thinking, Channel::Answer][..]
            } else {
                std::slice::from_ref(&heard.channel)
            };
            finding.verdict >= Verdict::Redact
                && channels.iter().any(|&channel| {
                    plan.policy().mode_of(channel, finding.category) == Mode::Enforce
                })
        });
        heard.findings.extend(claims);
        stops
    }

    /// Takes note that a question has no answer; gives back the channels whose text it was about.
    pub(super) fn fail(&mut self, id: u64) -> &'static [Channel] {
        let Some(open) = self.open.remove(&id) else { return &[] };
        let Some(heard) = self.texts.get_mut(open.text) else { return &[] };
        heard.lost = Some(heard.lost.map_or(open.new, |lost| lost.min(open.new)));
        match (heard.undecided, heard.channel) {
            (true, _) => Label::Undecided.channels(),
            (false, channel) => Label::Known(channel).channels(),
        }
    }

    /// Lets every question fail that has no answer: nobody waits for it any more.
    pub(super) fn close(&mut self) {
        for id in self.open.keys().copied().collect::<Vec<_>>() {
            self.fail(id);
        }
    }

    /// Whether some question about a voice's text, or about the prompt, has no answer and never will.
    pub(super) fn has_failed(&self, voice: Voice) -> bool {
        let of = |heard: &&Heard| heard.voice == voice || heard.voice == Voice::Prompt;
        self.texts.iter().filter(of).any(|heard| heard.lost.is_some())
    }

    /// Bytes of a voice's text in `channel` that no answer is about, not yet or not ever; and whether not ever.
    pub(super) fn unread(&self, voice: Voice, channel: Channel) -> (u64, bool) {
        let place =
            self.texts.iter().position(|heard| heard.voice == voice && heard.channel == channel);
        let Some((place, heard)) = place.and_then(|place| Some((place, self.texts.get(place)?)))
        else {
            return (0, false);
        };
        let open = self.open.values().filter(|open| open.text == place).map(|open| open.new);
        let read = open.chain(heard.lost).fold(heard.asked.byte, u64::min);
        (heard.end.byte.saturating_sub(read), heard.lost.is_some())
    }

    /// What was claimed of one channel of a voice.
    pub(super) fn findings(
        &self,
        consultant: &Consultant,
        voice: Voice,
        channel: Channel,
    ) -> Vec<Finding> {
        let asks = consultant.channels.contains(&channel);
        let of = |heard: &&Heard| asks && heard.voice == voice && heard.channel == channel;
        self.texts.iter().filter(of).flat_map(|heard| heard.findings.iter().cloned()).collect()
    }

    /// Findings that were not told yet. Those of undecided text wait until it is known for what it is.
    pub(super) fn new_findings(&mut self, consultant: &Consultant) -> Vec<Finding> {
        let mut new = Vec::new();
        for heard in self.texts.iter_mut().filter(|heard| !heard.undecided) {
            if consultant.channels.contains(&heard.channel) {
                new.extend(heard.findings.iter().skip(heard.told).cloned());
            }
            heard.told = heard.findings.len();
        }
        new
    }
}

// === impl Heard ===

impl Heard {
    fn new(voice: Voice, channel: Channel, undecided: bool) -> Self {
        Self {
            voice,
            channel,
            undecided,
            window: String::new(),
            begin: Origin::default(),
            end: Origin::default(),
            asked: Origin::default(),
            lost: None,
            findings: Vec::new(),
            told: 0,
        }
    }

    /// Characters that were not asked about.
    const fn new_chars(&self) -> u64 {
        self.end.char - self.asked.char
    }

    /// Takes what fits into a question with `step` new characters; gives back the rest.
    fn take<'t>(&mut self, text: &'t str, step: u64) -> &'t str {
        let room = usize::try_from(step.saturating_sub(self.new_chars())).unwrap_or(usize::MAX);
        let cut = text.char_indices().nth(room).map_or(text.len(), |(at, _)| at);
        let (taken, rest) = text.split_at(cut);
        self.window.push_str(taken);
        self.end.byte += taken.len() as u64;
        self.end.char += taken.chars().count() as u64;
        rest
    }

    /// Keeps the window's last characters, at most `chars`.
    fn keep_last(&mut self, chars: u64) {
        let excess = (self.end.char - self.begin.char).saturating_sub(chars);
        let place = usize::try_from(excess).unwrap_or(usize::MAX);
        let cut = self.window.char_indices().nth(place).map_or(self.window.len(), |(at, _)| at);
        self.window.drain(..cut);
        self.begin.byte += cut as u64;
        self.begin.char += excess;
        if self.window.is_empty() {
            // What one question has taken, the next one may not need.
            self.window.shrink_to_fit();
        }
    }
}

/// What an opinion claims of the text that it is about.
fn claims(
    plan: &Plan,
    consultant: &Consultant,
    channel: Channel,
    Open { begin, end, .. }: Open,
    opinion: &Opinion,
) -> Vec<Finding> {
    let claim = |id: &str, kind, category: Option<Category>, severity, score, verdict| Finding {
        detector: REMOTE,
        id: id.to_owned(),
        kind,
        category,
        severity,
        channel,
        start: begin.byte,
        end: end.byte,
        start_char: begin.char,
        end_char: end.char,
        score,
        repeat: false,
        verdict,
    };
    let risk = |category: Option<Category>| {
        let asked = verdict_of_claim(plan.policy(), consultant.action, category);
        let (severity, score, verdict) = match opinion.risk {
            Risk::Safe => return None,
            Risk::Controversial => (Severity::Low, CONTROVERSIAL, asked.min(Verdict::Flag)),
            Risk::Unsafe => (Severity::Medium, UNSAFE, asked),
        };
        let name = category.map_or(Head::Risk, Head::Category).name();
        Some(claim(name, Kind::Risk, category, severity, score, verdict))
    };
    let of_kinds = opinion.categories.iter().map(|&category| risk(Some(category)));
    let of_none = opinion.categories.is_empty().then(|| risk(None));
    let refuses = opinion.refusal && channel == Channel::Answer;
    let refusal = refuses.then(|| {
        claim(Head::Refusal.name(), Kind::Refusal, None, Severity::Info, UNSAFE, Verdict::Pass)
    });
    let claims = of_kinds.chain(of_none).flatten().chain(refusal);
    let is_on = |finding: &Finding| plan.policy().mode_of(channel, finding.category) != Mode::Off;
    claims.filter(is_on).collect()
}
