//! Readers over networks and a tokeniser whose numbers can be reckoned by hand.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{
    manifest::tests::{example, window_example},
    *,
};
use crate::text::offsets::Origin;

/// One token a character; its number is the character's.
#[derive(Debug)]
pub(crate) struct Letters;

/// Logits: +4 for `!`, -4 for every other letter; the state counts tokens and remembers the last channel.
#[derive(Debug, Default)]
pub(crate) struct Shouting {
    runs: usize,
}

impl Tokenise for Letters {
    fn tokenise(&mut self, word: &str, tokens: &mut Vec<u32>) -> Result<(), ClassifyError> {
        tokens.extend(word.chars().map(u32::from));
        Ok(())
    }
}

impl Network for Shouting {
    fn run(&mut self, batch: &mut Batch) -> Result<(), ClassifyError> {
        self.runs += 1;
        for row in 0..batch.rows {
            let mut state = [batch.states[2 * row], batch.states[2 * row + 1]];
            for step in 0..STEPS {
                let at = row * STEPS + step;
                let logit = if batch.tokens[at] == i64::from(u32::from('!')) { 4.0 } else { -4.0 };
                batch.logits.extend([logit, -logit]);
                if batch.mask[at] > 0.0 {
                    state = [state[0] + 1.0, if batch.channels[at] == 2 { 2.0 } else { 0.0 }];
                }
            }
            batch.states_out.extend(state);
        }
        Ok(())
    }
}

/// Of each window: 2 for every `!` but 4 less, and 60 less where there is a `?`.
#[derive(Default)]
struct Looking {
    seen: Vec<String>,
}

impl Network for Looking {
    fn run(&mut self, batch: &mut Batch) -> Result<(), ClassifyError> {
        for window in &batch.windows {
            let text: String = window
                .ids
                .iter()
                .map(|&id| char::from_u32(id.try_into().unwrap()).unwrap())
                .collect();
            let loud = f32::from(u8::try_from(text.matches('!').count()).unwrap());
            let asking = if text.contains('?') { 60.0 } else { 0.0 };
            batch.logits.extend([2.0 * loud - 4.0 - asking, 0.0, -4.0]);
            self.seen.push(text);
        }
        Ok(())
    }
}

/// Either network.
enum Either {
    Shouting(Shouting),
    Looking(Looking),
}

impl Network for Either {
    fn run(&mut self, batch: &mut Batch) -> Result<(), ClassifyError> {
        match self {
            Self::Shouting(network) => network.run(batch),
            Self::Looking(network) => network.run(batch),
        }
    }
}

/// Flags the risk, and cybercrime, at a mean of 0.6 at the ends of two chunks.
pub(crate) fn rubric() -> Arc<Rubric> {
    let manifest = Manifest::parse(example().to_string().as_bytes()).unwrap();
    Arc::new(manifest.rubric(Rate::OneInHundred).unwrap())
}

pub(crate) fn stages() -> Arc<Stages> {
    let first = Stage { rubric: rubric(), gait: Gait::Chunks };
    Arc::new(Stages { first, second: None })
}

/// A model of windows without special tokens; what stands before the text is `T` or `A`.
fn windows(manifest: &Value) -> SecondStage {
    let manifest = Manifest::parse(manifest.to_string().as_bytes()).unwrap();
    let Kind::Window(windows) = &manifest.kind else { unreachable!() };
    let prefix = ["", "T", "A"].map(|name| name.chars().map(u32::from).collect());
    SecondStage {
        rubric: Arc::new(manifest.rubric(Rate::OneInHundred).unwrap()),
        shape: windows
            .shape(Frame::default(), prefix, |token| token.chars().next().map(u32::from))
            .unwrap(),
        consult: manifest.consult.unwrap(),
    }
}

/// A model of windows that reads alone.
fn windows_alone() -> Arc<Stages> {
    let SecondStage { rubric, shape, .. } = windows(&window_example());
    Arc::new(Stages { first: Stage { rubric, gait: Gait::Windows(Box::new(shape)) }, second: None })
}

/// The chunks' model, and the windows' where that one is unsure.
fn both(manifest: &Value) -> Arc<Stages> {
    let first = Stage { rubric: rubric(), gait: Gait::Chunks };
    Arc::new(Stages { first, second: Some(windows(manifest)) })
}

/// What comes of passages, and the windows that were read.
fn read_with(stages: &Arc<Stages>, passages: &[Passage]) -> (Readers, Vec<String>) {
    let mut readers = Readers::new(Arc::clone(stages), true);
    let mut first = match &stages.first.gait {
        Gait::Chunks => Either::Shouting(Shouting { runs: 0 }),
        Gait::Windows(_) => Either::Looking(Looking::default()),
    };
    let mut second = Either::Looking(Looking::default());
    for passage in passages {
        readers.take_for_second(&mut Letters, passage);
        readers.take(&mut Letters, passage).unwrap();
        readers.run(&mut first, Some(&mut second), &mut Batch::default()).unwrap();
    }
    assert_eq!(readers.second_failure(), None);
    let ((Either::Looking(looking), _) | (_, Either::Looking(looking))) = (first, second) else {
        unreachable!()
    };
    (readers, looking.seen)
}

fn text(voice: Voice, said: Said, text: &str) -> Passage {
    Passage { voice, news: News::Text(said, text.to_owned()) }
}

fn end(voice: Voice) -> Passage {
    Passage { voice, news: News::End }
}

fn read(passages: &[Passage]) -> Readers {
    read_with(&stages(), passages).0
}

const CHOICE: Voice = Voice::Choice(0);

#[test]
fn a_flag_stands_at_the_end_of_the_second_chunk_in_a_row() {
    let calm = "calm.. ";
    let loud = "!!!!!!! ";
    let passages =
        [text(CHOICE, Said::Thinking, &format!("{calm}{}", loud.repeat(6))), end(CHOICE)];
    let scores = read(&passages).scores(CHOICE).unwrap();
    let thinking = scores.of(Channel::Thinking).unwrap();
    // Of 55 tokens 42 shout. The mean reaches 0.6 with the third chunk, and stays: the flag is the fourth's, whose
    // last token stands in the fourth loud word.
    assert_eq!(thinking.flag(Head::Risk), Some(Origin { byte: 39, char: 39 }));
    assert_eq!(thinking.read, Origin { byte: 55, char: 55 });
    assert!((thinking.probability(&rubric(), Head::Risk).unwrap() - 0.7543).abs() < 1e-3);
    assert_eq!(thinking.risk_at.len(), 7);
    assert_eq!(scores.of(Channel::Answer), None);
}

#[test]
fn no_cut_of_the_text_changes_scores_or_state() {
    let said = [
        (Said::Thinking, "Let me think. 我会 !!!! help, !!!!!!!! and!"),
        (Said::Answer, "No!!! never !!!!!!!!!!!!!!! mind"),
        (Said::Thinking, " again "),
    ];
    let prompt = text(Voice::Prompt, Said::Prompt, "how do I shout?!");
    let whole: Vec<Passage> = said.iter().map(|(said, words)| text(CHOICE, *said, words)).collect();
    let letters = said.iter().flat_map(|(said, words)| {
        words.chars().map(|letter| text(CHOICE, *said, &letter.to_string()))
    });
    let ends = [end(CHOICE)];
    let begin = [prompt, end(Voice::Prompt)];
    let letters: Vec<Passage> = begin.iter().cloned().chain(letters).chain(ends.clone()).collect();
    let whole: Vec<Passage> = begin.iter().cloned().chain(whole).chain(ends).collect();
    let (one, other) = (read(&whole), read(&letters));
    assert_eq!(one.scores(CHOICE), other.scores(CHOICE));
    assert_eq!(one.scores(Voice::Prompt), other.scores(Voice::Prompt));
}

#[test]
fn choices_begin_with_the_prompts_state_and_wait_for_it() {
    let mut readers = Readers::new(stages(), false);
    readers.take(&mut Letters, &text(Voice::Prompt, Said::Prompt, "12345")).unwrap();
    readers.take(&mut Letters, &text(CHOICE, Said::Answer, "1234567890 ")).unwrap();
    let mut network = Shouting::default();
    readers.run(&mut network, None, &mut Batch::default()).unwrap();
    assert_eq!((network.runs, readers.scores(CHOICE).unwrap().of(Channel::Answer)), (0, None));
    readers.take(&mut Letters, &end(Voice::Prompt)).unwrap();
    readers.take(&mut Letters, &text(CHOICE, Said::Answer, "next")).unwrap();
    readers.run(&mut network, None, &mut Batch::default()).unwrap();
    assert_eq!(network.runs, 2);
    let mut batch = Batch::default();
    readers.take(&mut Letters, &end(CHOICE)).unwrap();
    readers.fill(CHOICE, &mut batch);
    // Five tokens of the prompt and eight of the answer; the last chunk is padded.
    assert_eq!(batch.states, [13.0, 2.0]);
    assert_eq!(batch.mask, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
}

#[test]
fn undecided_text_is_scored_at_once_and_belongs_to_what_it_turns_out_to_be() {
    let lead = text(CHOICE, Said::Undecided, &"!".repeat(20));
    let open = read(std::slice::from_ref(&lead));
    assert!(open.scores(CHOICE).unwrap().undecided);
    let decided = Passage { voice: CHOICE, news: News::Decided(Channel::Thinking) };
    let answer = text(CHOICE, Said::Answer, "calm");
    let scores = read(&[lead.clone(), decided, answer, end(CHOICE)]).scores(CHOICE).unwrap();
    assert!(!scores.undecided);
    let (thinking, answer) =
        (scores.of(Channel::Thinking).unwrap(), scores.of(Channel::Answer).unwrap());
    assert_eq!((thinking.read.char, answer.read.char), (20, 4));
    assert_eq!(thinking.flag(Head::Risk), Some(Origin { byte: 20, char: 20 }));
    assert_eq!(answer.flag(Head::Risk), None);
    // Never decided: an answer.
    let scores = read(&[lead, end(CHOICE)]).scores(CHOICE).unwrap();
    assert_eq!(scores.of(Channel::Thinking), None);
    assert!(scores.of(Channel::Answer).unwrap().flag(Head::Risk).is_some());
}

#[test]
fn a_text_too_short_for_two_chunks_is_flagged_at_its_end() {
    let scores = read(&[text(CHOICE, Said::Answer, "!!!"), end(CHOICE)]).scores(CHOICE).unwrap();
    let flag = scores.of(Channel::Answer).unwrap().flag(Head::Risk);
    assert_eq!(flag, Some(Origin { byte: 3, char: 3 }));
    let open = read(&[text(CHOICE, Said::Answer, "!!!!!!!! ")]).scores(CHOICE).unwrap();
    assert_eq!(open.of(Channel::Answer), None);
}

#[test]
fn numbers_that_are_none_are_an_error() {
    struct Broken;
    impl Network for Broken {
        fn run(&mut self, batch: &mut Batch) -> Result<(), ClassifyError> {
            batch.logits = vec![f32::NAN; batch.rows * STEPS * 2];
            batch.states_out = vec![0.0; batch.rows * 2];
            Ok(())
        }
    }
    let mut readers = Readers::new(stages(), false);
    readers.take(&mut Letters, &text(CHOICE, Said::Answer, "123456789 1")).unwrap();
    let failed = readers.run(&mut Broken, None, &mut Batch::default());
    assert_eq!(failed, Err(ClassifyError::Numbers));
}

#[test]
fn a_long_passage_is_cut_between_characters() {
    let mut passage = text(CHOICE, Said::Answer, "ab制c");
    assert_eq!(passage.cut(6), None);
    assert_eq!(passage.cut(3), Some(text(CHOICE, Said::Answer, "制c")));
    assert_eq!(passage, text(CHOICE, Said::Answer, "ab"));
    assert_eq!(end(CHOICE).cut(0), None);
}

#[test]
fn passages_of_one_text_join() {
    let mut first = text(CHOICE, Said::Answer, "a");
    assert_eq!(first.join(text(CHOICE, Said::Answer, "b")), None);
    assert_eq!(first, text(CHOICE, Said::Answer, "ab"));
    assert_eq!(first.bytes(), 2);
    assert_eq!(first.join(end(CHOICE)), Some(end(CHOICE)));
    assert!(first.join(text(Voice::Choice(1), Said::Answer, "b")).is_some());
}

fn prompt(words: &str) -> [Passage; 2] {
    [text(Voice::Prompt, Said::Prompt, words), end(Voice::Prompt)]
}

fn risk(readers: &Readers, channel: Channel) -> f32 {
    let scores = readers.scores(CHOICE).unwrap();
    scores.of(channel).unwrap().probability(&rubric(), Head::Risk).unwrap()
}

fn flag(readers: &Readers, channel: Channel) -> Option<u64> {
    readers.scores(CHOICE).unwrap().of(channel).unwrap().flag(Head::Risk).map(|end| end.char)
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

#[test]
fn windows_end_at_every_stride_and_with_each_text() {
    let [ask, asked] = prompt("abcdef");
    let said = [
        ask,
        asked,
        text(CHOICE, Said::Thinking, "0123456789uvwxyz"),
        text(CHOICE, Said::Answer, "!!!!!."),
        end(CHOICE),
    ];
    let (readers, seen) = read_with(&windows_alone(), &said);
    // The prompt's own, then three of its letters before each text: twelve of a thinking's fit beside them. Of these
    // the first is a space, since the prefix ends in one.
    let expected = [
        "abcd",
        "abcdef",
        "defT 012",
        "defT 0123456",
        "defT 0123456789u",
        "defT3456789uvwxy",
        "defT456789uvwxyz",
        "defA!!!!",
        "defA!!!!!.",
    ];
    assert_eq!(seen, expected);
    let answer = f32::midpoint(sigmoid(4.0), sigmoid(6.0));
    assert!((risk(&readers, Channel::Answer) - answer).abs() < 1e-6);
    // Of two in a row the second ends the text.
    assert_eq!(flag(&readers, Channel::Answer), Some(6));
    assert_eq!(flag(&readers, Channel::Thinking), None);
    let thinking = readers.scores(CHOICE).unwrap().of(Channel::Thinking).unwrap().clone();
    assert_eq!((thinking.read.char, thinking.risk_at.len()), (16, 5));
}

#[test]
fn text_of_a_channel_that_is_not_read_is_passed_over() {
    let mut manifest = window_example();
    manifest["channels"] = json!(["answer"]);
    let SecondStage { rubric, shape, .. } = windows(&manifest);
    let stages =
        Stages { first: Stage { rubric, gait: Gait::Windows(Box::new(shape)) }, second: None };
    let [ask, asked] = prompt("abcdef");
    let thinking = text(CHOICE, Said::Thinking, "!!!!!!!!");
    let answer = text(CHOICE, Said::Answer, "calm");
    let passages = [ask, asked, thinking, answer, end(CHOICE)];
    let (readers, seen) = read_with(&Arc::new(stages), &passages);
    // The prompt's end is wanted all the same.
    assert_eq!(seen, ["defAcalm"]);
    assert_eq!(readers.scores(CHOICE).unwrap().of(Channel::Thinking), None);
}

/// Three of four letters are loud in the first words: the first model is unsure from its first chunk to the last.
const LOUD: &str = "!!! !!! !!! !!! !!! !!! ... ...";

const CONSULT: Consult = Consult { from: 0.2, to: 0.9, weight: 0.5 };

#[test]
fn the_second_model_is_asked_where_the_first_is_unsure() {
    let said = [text(CHOICE, Said::Answer, LOUD), end(CHOICE)];
    let (readers, seen) = read_with(&both(&window_example()), &said);
    // From the second chunk on, as no flag can come before.
    assert_eq!(seen, ["A!!! !!! !!! !!!", "A!!! !!! !!! !!!", "A!!! !!! ... ..."]);
    let alone = read(&said);
    let second = (2.0 * sigmoid(20.0) + sigmoid(8.0)) / 3.0;
    let expected = CONSULT.combine(risk(&alone, Channel::Answer), second);
    assert!((risk(&readers, Channel::Answer) - expected).abs() < 1e-4);
    // The first model alone flags the second chunk; that both do takes two windows.
    assert_eq!(flag(&alone, Channel::Answer), Some(16));
    assert_eq!(flag(&readers, Channel::Answer), Some(24));
    let risk_at = readers.scores(CHOICE).unwrap().of(Channel::Answer).unwrap().risk_at.clone();
    assert_eq!(risk_at.iter().map(|&(end, _)| end).collect::<Vec<_>>(), [8, 16, 24, 31]);
    assert!((risk_at[0].1 - 0.741).abs() < 1e-3, "nobody was asked yet");
    assert!(risk_at[1].1 > 0.99);
}

#[test]
fn the_second_model_takes_back_what_the_first_is_unsure_of() {
    let [ask, asked] = prompt("?");
    let said = [ask, asked, text(CHOICE, Said::Answer, LOUD), end(CHOICE)];
    let (readers, seen) = read_with(&both(&window_example()), &said);
    assert_eq!(seen[0], "?A!! !!! !!! !!!");
    assert_eq!(flag(&readers, Channel::Answer), None);
    assert!(risk(&readers, Channel::Answer) < 0.01);
    assert_eq!(flag(&read(&said), Channel::Answer), Some(16));
}

#[test]
fn what_the_first_model_is_sure_of_stands() {
    let [ask, asked] = prompt("?");
    let loud = format!("{} ", "!".repeat(31)).repeat(6);
    let said = [ask, asked, text(CHOICE, Said::Answer, &format!("....... {loud}")), end(CHOICE)];
    let (readers, seen) = read_with(&both(&window_example()), &said);
    let alone = read(&said);
    assert!(!seen.is_empty() && risk(&alone, Channel::Answer) > 0.9);
    assert!((risk(&readers, Channel::Answer) - risk(&alone, Channel::Answer)).abs() < f32::EPSILON);
    let risk_at = alone.scores(CHOICE).unwrap().of(Channel::Answer).unwrap().risk_at.clone();
    let sure = risk_at.iter().find(|(_, risk)| *risk > 0.9).unwrap().0;
    assert_eq!(flag(&readers, Channel::Answer), Some(sure));
    assert!(flag(&alone, Channel::Answer).unwrap() < sure);
}

#[test]
fn what_the_second_model_does_not_know_is_the_firsts() {
    let mut manifest = window_example();
    manifest["window"]["unknown"] = json!({"token": "!", "percent": 60});
    let said = [text(CHOICE, Said::Answer, LOUD), end(CHOICE)];
    let (readers, seen) = read_with(&both(&manifest), &said);
    let alone = read(&said);
    assert_eq!(seen, Vec::<String>::new());
    assert_eq!(flag(&readers, Channel::Answer), flag(&alone, Channel::Answer));
    assert!((risk(&readers, Channel::Answer) - risk(&alone, Channel::Answer)).abs() < f32::EPSILON);
    // The flag does not wait for the text's end.
    let (open, _) = read_with(&both(&manifest), &said[..1]);
    assert_eq!(flag(&open, Channel::Answer), Some(16));
    // Less of it, and the second model is asked.
    manifest["window"]["unknown"]["percent"] = json!(90);
    assert_eq!(read_with(&both(&manifest), &said).1.len(), 3);
}

#[test]
fn a_stretch_that_ends_unsure_is_asked_about_at_its_end() {
    // Too short for a flag of the first model, but for its end.
    let said = [
        text(CHOICE, Said::Thinking, "!!!"),
        text(CHOICE, Said::Answer, "!!"),
        text(CHOICE, Said::Thinking, "!"),
    ];
    let mut manifest = window_example();
    manifest["consult"]["to"] = json!(1.0);
    let (readers, seen) = read_with(&both(&manifest), &said);
    assert_eq!(seen, ["T !!!", "A!!"]);
    let ended: Vec<Passage> = said.into_iter().chain([end(CHOICE)]).collect();
    let (ended, seen) = read_with(&both(&manifest), &ended);
    assert_eq!(seen, ["T !!!", "A!!", "T !!!!"]);
    assert_eq!(flag(&readers, Channel::Answer), None);
    assert_eq!(flag(&ended, Channel::Thinking), Some(4));
    // One answer is as many as there are.
    assert_eq!(flag(&ended, Channel::Answer), Some(2));
}

#[test]
fn a_second_model_that_fails_leaves_the_first_models_judgement() {
    struct Broken(usize);
    impl Network for Broken {
        fn run(&mut self, batch: &mut Batch) -> Result<(), ClassifyError> {
            if !batch.windows.is_empty() {
                self.0 += 1;
                return Err(ClassifyError::Network("broken".to_owned()));
            }
            Shouting::default().run(batch)
        }
    }
    let said = [text(CHOICE, Said::Answer, LOUD), end(CHOICE)];
    let mut readers = Readers::new(both(&window_example()), true);
    let (mut first, mut second) = (Broken(0), Broken(0));
    for passage in &said {
        readers.take_for_second(&mut Letters, passage);
        readers.take(&mut Letters, passage).unwrap();
        readers.run(&mut first, Some(&mut second), &mut Batch::default()).unwrap();
    }
    let error = ClassifyError::Network("broken".to_owned());
    assert_eq!(readers.second_failure(), Some(SecondFailure::Error(error)));
    assert_eq!((readers.second_failure(), second.0), (None, 1));
    assert_eq!(readers.scores(CHOICE), read(&said).scores(CHOICE));
    assert!(!readers.has_questions());
}

#[test]
fn what_the_second_model_flagged_stands_when_it_fails() {
    let mut manifest = window_example();
    manifest["decision"]["consecutive"] = json!(1);
    manifest["consult"]["weight"] = json!(1.0);
    // Half of it is loud, which the first model does not flag.
    let (mut readers, _) =
        read_with(&both(&manifest), &[text(CHOICE, Said::Answer, &"!!.. ".repeat(8))]);
    let flagged = flag(&readers, Channel::Answer);
    assert!(flagged.is_some());
    readers.fail_second(None);
    assert_eq!(flag(&readers, Channel::Answer), flagged);
    assert!(risk(&readers, Channel::Answer) < 0.6);
}

#[test]
fn only_so_many_windows_wait() {
    let mut readers = Readers::new(both(&window_example()), false);
    let (mut first, mut batch) = (Shouting::default(), Batch::default());
    let said = text(CHOICE, Said::Answer, &"!!! ".repeat(4 * second::MAX_DUE));
    readers.take_for_second(&mut Letters, &said);
    readers.take(&mut Letters, &said).unwrap();
    readers.run(&mut first, None, &mut batch).unwrap();
    assert_eq!(readers.second_failure(), Some(SecondFailure::Overflow));
    assert!(!readers.has_questions());
    // Voices that begin later do without, too.
    let other = text(Voice::Choice(1), Said::Answer, LOUD);
    readers.take_for_second(&mut Letters, &other);
    readers.take(&mut Letters, &other).unwrap();
    readers.run(&mut first, None, &mut batch).unwrap();
    assert!(!readers.has_questions());
}

#[test]
fn text_in_which_the_first_model_sees_nothing_does_not_pile_up() {
    let mut readers = Readers::new(both(&window_example()), false);
    // Normalised, nothing is left of it.
    let nothing = text(CHOICE, Said::Answer, &"\u{200B}".repeat(1 << 14));
    for times in 0..5 {
        assert_eq!(readers.second_failure(), None, "{times}");
        readers.take_for_second(&mut Letters, &nothing);
        readers.take(&mut Letters, &nothing).unwrap();
    }
    assert_eq!(readers.second_failure(), Some(SecondFailure::Overflow));
}

#[test]
fn answers_may_come_late_and_belong_to_their_place() {
    let stages = both(&window_example());
    let said = [
        text(CHOICE, Said::Undecided, LOUD),
        Passage { voice: CHOICE, news: News::Decided(Channel::Thinking) },
    ];
    let rest = [text(CHOICE, Said::Answer, LOUD), end(CHOICE)];
    let mut readers = Readers::new(Arc::clone(&stages), true);
    let (mut first, mut batch) = (Shouting::default(), Batch::default());
    for passage in said.iter().chain(&rest) {
        readers.take_for_second(&mut Letters, passage);
        readers.take(&mut Letters, passage).unwrap();
        readers.run(&mut first, None, &mut batch).unwrap();
    }
    assert_eq!(flag(&readers, Channel::Thinking), None);
    assert!(readers.has_questions());
    let mut second = Looking::default();
    batch.clear();
    while let Some(question) = readers.ask(&mut batch) {
        let ran = second.run(&mut batch);
        readers.answer(question, ran.map(|()| &batch));
        batch.clear();
    }
    let all: Vec<Passage> = said.into_iter().chain(rest).collect();
    let (at_once, _) = read_with(&stages, &all);
    assert_eq!(readers.scores(CHOICE), at_once.scores(CHOICE));
    assert!(flag(&readers, Channel::Thinking).is_some());
}

/// What a choice says, in stretches.
fn stretches() -> impl Strategy<Value = Vec<(Said, String)>> {
    let piece = select(vec!["!", "!!! ", "? ", "ab ", "制", "，", "  ", "\u{301}", ". ", "!!!!"]);
    let words = vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    (
        proptest::option::of(words.clone()),
        vec((select(vec![Said::Thinking, Said::Answer]), words), 0..4),
    )
        .prop_map(|(lead, rest)| {
            let lead = lead.map(|text| (Said::Undecided, text));
            lead.into_iter().chain(rest).collect()
        })
}

proptest! {
    #[test]
    fn no_cut_changes_what_windows_or_two_models_say(
        ask in "[a-c!? 制]{0,20}",
        said in stretches(),
        thought in any::<bool>(),
        size in 1_usize..9,
    ) {
        let is_undecided = said.first().is_some_and(|(said, _)| *said == Said::Undecided);
        let decided = if thought { Channel::Thinking } else { Channel::Answer };
        let news = Passage { voice: CHOICE, news: News::Decided(decided) };
        let passages = |size: usize| {
            let mut passages = Vec::from(prompt(&ask));
            for (place, (said, words)) in said.iter().enumerate() {
                let letters: Vec<char> = words.chars().collect();
                let cuts = letters.chunks(size).map(|cut| cut.iter().collect::<String>());
                passages.extend(cuts.map(|words| text(CHOICE, *said, &words)));
                if place == 0 && is_undecided {
                    passages.push(news.clone());
                }
            }
            passages.push(end(CHOICE));
            passages
        };
        for stages in [windows_alone(), both(&window_example())] {
            let (whole, mut windows) = read_with(&stages, &passages(usize::MAX));
            let (cut, mut of_cut) = read_with(&stages, &passages(size));
            prop_assert_eq!(whole.scores(CHOICE), cut.scores(CHOICE));
            prop_assert_eq!(whole.scores(Voice::Prompt), cut.scores(Voice::Prompt));
            // Of what is undecided more may be asked while it is, as both that it may become.
            windows.dedup();
            of_cut.dedup();
            if !is_undecided {
                prop_assert_eq!(windows, of_cut);
            }
        }
    }
}
