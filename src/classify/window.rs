//! Windows of text, for networks that keep no state: how one looks, and what is kept to build the next.
//!
//! A window ends where the text stands and goes back as far as it has room: special tokens, the end of the prompt, the
//! channel's prefix, and then as much of the text as fits.

use std::collections::VecDeque;

use super::{CHANNELS, spoken::Spelling};
use crate::channel::Channel;

/// A token with the number of the text it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The token.
    pub id: u32,
    /// Its token type: of which text of a pair it is.
    pub kind: u32,
}

/// The special tokens that a tokeniser puts around a text, and around a pair of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Before and behind a text.
    pub alone: [Vec<Mark>; 2],
    /// The token type of a text alone.
    pub alone_kind: u32,
    /// Before, between and behind the texts of a pair.
    pub pair: [Vec<Mark>; 3],
    /// The token types of a pair's texts.
    pub pair_kinds: [u32; 2],
}

/// What a network reads at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Tokens.
    pub ids: Vec<i64>,
    /// Their types.
    pub kinds: Vec<i64>,
}

/// What a tokeniser gives for what it does not know, and how much of it is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The token.
    pub token: u32,
    /// So many of a hundred tokens of a window's text tell that it is in no language that the network reads.
    pub percent: u8,
}

/// How a network's windows look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowShape {
    /// Tokens of a window at most, special ones included.
    pub tokens: usize,
    /// Tokens of text from one window's end to the next one's.
    pub stride: usize,
    /// Tokens of the prompt's end that stand before the text of a choice.
    pub prompt_tokens: usize,
    /// The special tokens.
    pub frame: Frame,
    /// What stands before each channel's text, by its number.
    pub prefix: [Vec<u32>; CHANNELS.len()],
    /// How the text's words are given to the tokeniser.
    pub spelling: Spelling,
    /// By what windows are told of which the network knows too little.
    pub unknown: Option<Unknown>,
}

/// The end of a text: what a window can go back to.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    ids: VecDeque<u32>,
}

/// Undecided text has turned out to be of `channel`: what was `seen` of it as of the other, and the tail there, were
/// nobody's. Gives back the other's number.
pub(super) fn settle<T: Default>(
    channel: Channel,
    seen: &mut [T; CHANNELS.len()],
    tails: &mut [Tail; CHANNELS.len()],
) -> usize {
    let [_, thinking, answer] = seen;
    let [_, thinking_tail, answer_tail] = tails;
    if channel == Channel::Thinking {
        *thinking_tail = std::mem::take(answer_tail);
        *answer = T::default();
        2
    } else {
        *thinking = T::default();
        1
    }
}

// === impl WindowShape ===

impl WindowShape {
    /// How many tokens of a channel's text fit, whatever the prompt.
    #[must_use]
    pub fn room(&self, channel: usize) -> usize {
        self.room_beside(channel, if channel == 0 { 0 } else { self.prompt_tokens })
    }

    /// How many tokens of text fit beside so many of the prompt's.
    fn room_beside(&self, channel: usize, prompt: usize) -> usize {
        let specials: usize = if prompt == 0 {
            self.frame.alone.iter().map(Vec::len).sum()
        } else {
            self.frame.pair.iter().map(Vec::len).sum()
        };
        let prefix = self.prefix.get(channel).map_or(0, Vec::len);
        self.tokens.saturating_sub(specials + prefix + prompt)
    }

    /// Whether a window over the end of a channel's text holds too much that the tokeniser does not know.
    pub(super) fn is_foreign(&self, channel: usize, prompt: &[u32], text: &Tail) -> bool {
        let Some(Unknown { token, percent }) = self.unknown else { return false };
        let (mut all, mut unknown) = (0_usize, 0_usize);
        for id in text.last(self.room_beside(channel, prompt.len())) {
            all += 1;
            unknown += usize::from(id == token);
        }
        unknown * 100 >= all.max(1) * usize::from(percent)
    }

    /// The prompt's end, as much of it as windows hold.
    pub(super) fn prompt_end(&self, prompt: &Tail) -> Vec<u32> {
        prompt.last(self.prompt_tokens).collect()
    }

    /// A window over the end of a channel's text: of `before`, and all of `text`.
    pub(super) fn window(
        &self,
        channel: usize,
        prompt: &[u32],
        before: &Tail,
        text: &[u32],
    ) -> Window {
        let room = self.room_beside(channel, prompt.len());
        let text = text.get(text.len().saturating_sub(room)..).unwrap_or_default();
        let before = before.last(room - text.len());
        let prefix = self.prefix.get(channel).into_iter().flatten().copied();
        let text = prefix.chain(before).chain(text.iter().copied());
        let mut window = Window::default();
        let (open, close, kind) = if prompt.is_empty() {
            let [open, close] = &self.frame.alone;
            (open, close, self.frame.alone_kind)
        } else {
            let [open, middle, close] = &self.frame.pair;
            let [kind, other] = self.frame.pair_kinds;
            window.marks(open);
            window.text(prompt.iter().copied(), kind);
            (middle, close, other)
        };
        window.marks(open);
        window.text(text, kind);
        window.marks(close);
        window
    }
}

// === impl Window ===

impl Window {
    fn marks(&mut self, marks: &[Mark]) {
        for mark in marks {
            self.text([mark.id], mark.kind);
        }
    }

    fn text(&mut self, ids: impl IntoIterator<Item = u32>, kind: u32) {
        self.ids.extend(ids.into_iter().map(i64::from));
        self.kinds.resize(self.ids.len(), i64::from(kind));
    }
}

// === impl Tail ===

impl Tail {
    /// Adds a token; no more than `most` are kept.
    pub(super) fn push(&mut self, id: u32, most: usize) {
        self.ids.push_back(id);
        if self.ids.len() > most {
            self.ids.pop_front();
        }
    }

    fn last(&self, count: usize) -> impl Iterator<Item = u32> {
        self.ids.range(self.ids.len().saturating_sub(count)..).copied()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// 101 opens, 102 separates and closes; eight tokens in all, of which two are the prompt's.
    pub(in crate::classify) fn shape() -> WindowShape {
        let mark = |id, kind| vec![Mark { id, kind }];
        WindowShape {
            tokens: 8,
            stride: 2,
            prompt_tokens: 2,
            frame: Frame {
                alone: [mark(101, 0), mark(102, 0)],
                alone_kind: 0,
                pair: [mark(101, 0), mark(102, 0), mark(102, 1)],
                pair_kinds: [0, 1],
            },
            prefix: [vec![90], vec![91], vec![]],
            spelling: Spelling { verbatim: true, ..Spelling::default() },
            unknown: None,
        }
    }

    fn tail(ids: &[u32]) -> Tail {
        let mut tail = Tail::default();
        for &id in ids {
            tail.push(id, 8);
        }
        tail
    }

    #[test]
    fn a_window_ends_with_the_text_and_goes_back_as_far_as_it_has_room() {
        let shape = shape();
        let before = tail(&[1, 2, 3, 4, 5, 6, 7]);
        let window = shape.window(1, &[], &before, &[8, 9]);
        assert_eq!(window.ids, [101, 91, 5, 6, 7, 8, 9, 102]);
        assert_eq!(window.kinds, [0; 8]);
        let window = shape.window(1, &[21, 22], &before, &[8, 9]);
        assert_eq!(window.ids, [101, 21, 22, 102, 91, 8, 9, 102]);
        assert_eq!(window.kinds, [0, 0, 0, 0, 1, 1, 1, 1]);
        let window = shape.window(2, &[22], &tail(&[1]), &[]);
        assert_eq!(window.ids, [101, 22, 102, 1, 102]);
        assert_eq!(shape.room(0), 5);
        assert_eq!(shape.room(1), 2);
    }

    #[test]
    fn a_window_of_too_much_that_is_unknown_is_foreign() {
        let unknown = Some(Unknown { token: 7, percent: 50 });
        let shape = WindowShape { unknown, ..shape() };
        // Two tokens of text have room beside the prompt, five without it.
        let text = tail(&[7, 7, 1, 2, 7]);
        assert!(shape.is_foreign(1, &[21, 22], &text));
        assert!(shape.is_foreign(1, &[], &text));
        assert!(!shape.is_foreign(1, &[], &tail(&[7, 1, 2, 3, 7])));
        assert!(!shape.is_foreign(1, &[], &tail(&[])));
        assert!(!WindowShape { unknown: None, ..shape }.is_foreign(1, &[], &text));
    }

    #[test]
    fn a_tail_is_bounded() {
        let tail = tail(&(0..100).collect::<Vec<_>>());
        assert_eq!(tail.last(100).collect::<Vec<_>>(), (92..100).collect::<Vec<_>>());
    }
}
