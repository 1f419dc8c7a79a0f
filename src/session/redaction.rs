//! What becomes of a frame that leaves: spans are masked at every place where their text stands, hidden thinking
//! is taken out.
//!
//! A frame is edited in its JSON, at the places that were noted when it was read; all else stays as it came. A text
//! that cannot be edited safely is not edited: the frame may not leave then.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use bytes::Bytes;

use crate::{
    dialect::{
        Dialect,
        chunk::Source,
        splice::{self, Splice},
        take_out::{self, Altered, TakeOut},
    },
    policy::Mask,
};

use super::{
    choice::{CONTENT, Choice, Leaf, Shows, is_logprob, is_thinking},
    hold_back::HeldFrame,
    plan::MASK,
};

/// Replaces one character where the mask keeps lengths.
const BLOCK: char = '█';

/// Texts of so many bytes are looked for by themselves where they may be repeated.
const TELLING: usize = 4;

/// How frames are edited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Editing<'s> {
    pub(super) dialect: Dialect,
    pub(super) mask: Mask,
    /// Thinking is not delivered.
    pub(super) hides_thinking: bool,
    /// The frame is a whole body, which is delivered even when nothing is left in it.
    pub(super) whole: bool,
    /// What the frame has to agree with, where it follows another answer.
    pub(super) splice: Option<&'s Splice>,
}

/// What leaves of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edited {
    /// Its bytes; none where all that it told was hidden.
    pub(super) bytes: Option<Bytes>,
    /// Its payload, where that is another than the one that came.
    pub(super) data: Option<String>,
    /// Spans were masked.
    pub(super) masked: bool,
    /// Thinking was taken out.
    pub(super) hid: bool,
    /// The choices, by position, of whose thinking something was masked.
    pub(super) altered_thinking: Vec<usize>,
}

/// Bytes that are taken out of a leaf's text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cut {
    at: Range<usize>,
    leaves: Leaves,
}

/// What a cut leaves in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    /// The mask.
    Mask,
    /// Nothing: the mask stands where the span begins, in an earlier leaf.
    RestOfMask,
    /// Nothing: the text is hidden.
    Nothing,
}

/// What becomes of one leaf.
#[derive(Debug)]
struct Edit<'f> {
    leaf: &'f Leaf,
    cuts: Vec<Cut>,
}

/// The frame as it leaves; `None` where a text cannot be edited safely.
pub(super) fn edited(held: &HeldFrame, choices: &[Choice], editing: Editing<'_>) -> Option<Edited> {
    let mut edits = Vec::new();
    let mut altered_thinking = Vec::new();
    let takes_fields = editing.dialect.hides_whole_fields();
    // Sealed thinking has no text of its own.
    let mut hid = editing.hides_thinking && takes_fields && held.tells_sealed_thinking();
    for leaf in &held.leaves {
        let choice = choices.get(leaf.choice)?;
        if editing.hides_thinking && is_thinking(leaf.kind) {
            hid = true;
            if !takes_fields {
                edits.push(Edit { leaf, cuts: everything() });
            }
            continue;
        }
        let cuts = cuts_of(leaf, choice, editing)?;
        if cuts.is_empty() {
            continue;
        }
        hid |= editing.hides_thinking && cuts.iter().any(|cut| cut.leaves == Leaves::Nothing);
        if is_thinking(leaf.kind) {
            altered_thinking.push(leaf.choice);
        }
        edits.push(Edit { leaf, cuts });
    }
    let as_it_came = Edited {
        bytes: Some(held.frame.raw.clone()),
        data: None,
        masked: false,
        hid: false,
        altered_thinking: Vec::new(),
    };
    let may_tell_ids = !held.unread.is_empty() && ids_are_sealed(choices, editing);
    if edits.is_empty() && !editing.hides_thinking && editing.splice.is_none() && !may_tell_ids {
        return Some(as_it_came);
    }
    let masked = edits.iter().flat_map(|edit| &edit.cuts).any(|cut| cut.leaves != Leaves::Nothing);
    let Ok(payload) = str::from_utf8(held.frame.data()) else {
        // Bytes that are no text carry nothing that could be edited in its place.
        return (edits.is_empty() && !hid).then_some(as_it_came);
    };
    let splices = splices(payload, held, choices, &edits, editing)?;
    if splices.is_empty() {
        return Some(as_it_came);
    }
    // Token ids and logprobs that may tell of thinking are hidden with it.
    hid |= editing.hides_thinking && !masked && editing.splice.is_none();
    let data = replace(payload, splices)?;
    let named = |index| choices.iter().any(|choice| choice.index == index && choice.named);
    // A role that was told before, or a tag, may have been all that it told.
    let had_told = || !take_out::tells_nothing(editing.dialect, payload, &|_| false);
    let empty = (hid || (editing.splice.is_some() && had_told()))
        && !editing.whole
        && take_out::tells_nothing(editing.dialect, &data, &named);
    let bytes = (!empty).then(|| held.frame.with_data(data.as_bytes()));
    Some(Edited { bytes, data: Some(data), masked, hid, altered_thinking })
}

/// Whether token ids may tell what was masked in an earlier frame, or thinking that is hidden.
fn ids_are_sealed(choices: &[Choice], editing: Editing) -> bool {
    let sealed =
        |choice: &Choice| choice.masked || (editing.hides_thinking && choice.has_thinking());
    choices.iter().any(sealed)
}

/// The places that change, and what stands there instead.
fn splices(
    payload: &str,
    held: &HeldFrame,
    choices: &[Choice],
    edits: &[Edit<'_>],
    editing: Editing<'_>,
) -> Option<Vec<(Range<usize>, String)>> {
    let altered = altered_choices(payload, held, choices, edits, editing)?;
    let is_seen = editing.splice.is_some_and(|splice| splice.identity.is_some());
    let roles: Vec<u32> = choices
        .iter()
        .filter(|choice| is_seen && choice.named)
        .map(|choice| choice.index)
        .collect();
    let gone = if editing.dialect.hides_whole_fields() {
        let what = TakeOut { thinking: editing.hides_thinking, altered: &altered, roles: &roles };
        take_out::places(payload, what)
    } else {
        Vec::new()
    };
    let stays = |place: &Range<usize>| {
        gone.iter().all(|gone| place.end <= gone.start || gone.end <= place.start)
    };
    let mut splices: Vec<(Range<usize>, String)> = Vec::new();
    let dropped = dropped_entries(held, choices, edits);
    for edit in edits.iter().filter(|edit| stays(&edit.leaf.json)) {
        let json = &edit.leaf.json;
        if !held.arrays.iter().any(|array| array.entries.contains(json)) {
            let token = payload.get(json.clone())?;
            splices.push((json.clone(), without_cuts(token, &edit.cuts, editing.mask)?));
        }
    }
    for array in held.arrays.iter().filter(|array| stays(&array.json)) {
        if !array.entries.iter().any(|entry| dropped.contains(&entry)) {
            continue;
        }
        let kept = array.entries.iter().filter(|entry| !dropped.contains(entry));
        let kept: Option<Vec<&str>> = kept.map(|entry| payload.get(entry.clone())).collect();
        splices.push((array.json.clone(), format!("[{}]", kept?.join(","))));
    }
    splices.extend(gone.into_iter().map(|place| (place, String::new())));
    splices.extend(editing.splice.iter().flat_map(|own| splice::replacements(payload, own)));
    let ids_are_sealed = ids_are_sealed(choices, editing);
    for place in &held.unread {
        let raw = payload.get(place.clone())?;
        if take_out::shows_altered(raw, &altered) || (ids_are_sealed && take_out::may_be_ids(raw)) {
            splices.push((place.clone(), "null".to_owned()));
        }
    }
    Some(splices)
}

/// The choices of which something goes, and what.
fn altered_choices(
    payload: &str,
    held: &HeldFrame,
    choices: &[Choice],
    edits: &[Edit<'_>],
    editing: Editing<'_>,
) -> Option<Vec<Altered>> {
    let mut altered: BTreeMap<u32, Altered> = BTreeMap::new();
    let mut note = |leaf: &Leaf, text: &str, logprobs: bool| {
        let index = choices.get(leaf.choice)?.index;
        let altered =
            altered.entry(index).or_insert_with(|| Altered { index, ..Altered::default() });
        altered.logprobs |= logprobs;
        if !text.is_empty() {
            altered.texts.push(text.to_owned());
        }
        Some(())
    };
    for Edit { leaf, cuts } in edits {
        if is_logprob(leaf.kind) {
            note(leaf, "", true)?;
            continue;
        }
        let text = text_of(payload.get(leaf.json.clone())?)?;
        for cut in cuts {
            let taken = text.get(cut.at.start..cut.at.end.min(text.len()))?;
            // A few letters stand everywhere; a copy has all of the leaf.
            let telling = if taken.len() < TELLING { &*text } else { taken };
            note(leaf, telling, false)?;
        }
    }
    let hides_fields = editing.hides_thinking && editing.dialect.hides_whole_fields();
    let hidden = held.leaves.iter().filter(|leaf| hides_fields && is_thinking(leaf.kind));
    for leaf in hidden {
        note(leaf, &text_of(payload.get(leaf.json.clone())?)?, false)?;
    }
    Some(altered.into_values().collect())
}

/// The logprob entries that go. Where a choice's text changes, logprobs that do not tell the same text go as well:
/// nobody knows which of them stand for what was taken.
fn dropped_entries<'f>(
    held: &'f HeldFrame,
    choices: &[Choice],
    edits: &[Edit<'f>],
) -> Vec<&'f Range<usize>> {
    let cut = edits.iter().filter(|edit| is_logprob(edit.leaf.kind)).map(|edit| &edit.leaf.json);
    let altered = |choice: usize| edits.iter().any(|edit| edit.leaf.choice == choice);
    let unaligned = held.leaves.iter().filter(|leaf| {
        is_logprob(leaf.kind) && shown(leaf, choices) == Some(leaf.kind) && altered(leaf.choice)
    });
    cut.chain(unaligned.map(|leaf| &leaf.json)).collect()
}

/// What is taken out of a leaf's text; `None` where that cannot be done.
fn cuts_of(leaf: &Leaf, choice: &Choice, editing: Editing<'_>) -> Option<Vec<Cut>> {
    match &leaf.shows {
        _ if editing.hides_thinking && may_show_thinking(leaf, choice) => Some(everything()),
        Shows::Alone(spans) => {
            let cut = |span| Cut { at: offsets(span, 0), leaves: Leaves::Mask };
            Some(disjoint(spans.iter().map(cut).collect()))
        }
        Shows::Source { source: position, span } => {
            let source = choice.sources.get(*position)?;
            let mut cuts = Vec::new();
            for redaction in source.redactions_in(span) {
                let Some(cut) = cut_of(redaction, span, leaf.kind) else { continue };
                if matches!(source.kind, Source::ToolArguments(_))
                    && !source.is_inside_a_string(redaction)
                {
                    return None;
                }
                cuts.push(cut);
            }
            if editing.hides_thinking && *position == CONTENT {
                hide(&mut cuts, &choice.hidden_content(), span, leaf.kind);
            }
            if *position == CONTENT
                && let Some(tag) = choice.repeated_tag()
            {
                hide(&mut cuts, &[tag], span, leaf.kind);
            }
            Some(disjoint(cuts))
        }
    }
}

/// All of a text, hidden.
fn everything() -> Vec<Cut> {
    vec![Cut { at: 0..usize::MAX, leaves: Leaves::Nothing }]
}

/// What a leaf shows: its own text, or that of which it is a copy.
fn shown(leaf: &Leaf, choices: &[Choice]) -> Option<Source> {
    shown_in(leaf, choices.get(leaf.choice)?)
}

fn shown_in(leaf: &Leaf, choice: &Choice) -> Option<Source> {
    match &leaf.shows {
        Shows::Alone(_) => None,
        Shows::Source { source, .. } => choice.sources.get(*source).map(|source| source.kind),
    }
}

/// Whether a leaf repeats thinking, or something of which nobody knows what it is.
fn may_show_thinking(leaf: &Leaf, choice: &Choice) -> bool {
    let is_copy = matches!(
        leaf.kind,
        Source::ContentLogprobs
            | Source::ReasoningLogprobs
            | Source::RefusalLogprobs
            | Source::TextBesideDelta
            | Source::CumulativeContent
            | Source::RepeatedKey
    );
    is_copy && !matches!(shown_in(leaf, choice), Some(Source::Content | Source::Refusal))
}

/// Adds cuts for what is hidden; what is masked inside it needs no mask.
fn hide(cuts: &mut Vec<Cut>, hidden: &[Range<u64>], span: &Range<u64>, kind: Source) {
    for stretch in hidden {
        let Some(Cut { at, .. }) = cut_of(stretch, span, kind) else { continue };
        cuts.retain(|cut| cut.at.end <= at.start || at.end <= cut.at.start);
        cuts.push(Cut { at, leaves: Leaves::Nothing });
    }
}

/// The part of `cut` that a leaf shows, in the leaf's own bytes; the mask stands where the span begins.
fn cut_of(cut: &Range<u64>, span: &Range<u64>, kind: Source) -> Option<Cut> {
    let begin = cut.start.max(span.start);
    let end = cut.end.min(span.end);
    // An entry without text may hold the end of a character that the one before it begins.
    let belongs = is_logprob(kind) && span.is_empty() && cut.start < span.start && end == span.end;
    (begin < end || belongs).then(|| Cut {
        at: offsets(&(begin..end), span.start),
        leaves: if begin == cut.start { Leaves::Mask } else { Leaves::RestOfMask },
    })
}

fn offsets(span: &Range<u64>, base: u64) -> Range<usize> {
    let offset = |at: u64| usize::try_from(at.saturating_sub(base)).unwrap_or(usize::MAX);
    offset(span.start)..offset(span.end)
}

/// Overlapping cuts joined into one.
fn disjoint(mut cuts: Vec<Cut>) -> Vec<Cut> {
    cuts.sort_by_key(|cut| cut.at.start);
    let mut joined: Vec<Cut> = Vec::with_capacity(cuts.len());
    for cut in cuts {
        match joined.last_mut() {
            Some(last) if cut.at.start < last.at.end => {
                last.at.end = last.at.end.max(cut.at.end);
                if cut.leaves == Leaves::Mask {
                    last.leaves = Leaves::Mask;
                }
            }
            _ => joined.push(cut),
        }
    }
    joined
}

/// The text of a JSON token: a string's, or an object that stands for itself.
fn text_of(token: &str) -> Option<Cow<'_, str>> {
    if token.starts_with('{') {
        return Some(Cow::Borrowed(token));
    }
    crate::dialect::text_of_token(token)
}

/// A JSON token with the cuts made.
fn without_cuts(token: &str, cuts: &[Cut], mask: Mask) -> Option<String> {
    let text = text_of(token)?;
    let mut edited = String::with_capacity(text.len() + MASK.len());
    let mut at = 0;
    for cut in cuts {
        let end = cut.at.end.min(text.len());
        edited.push_str(text.get(at..cut.at.start)?);
        let taken = text.get(cut.at.start..end)?;
        match (cut.leaves, mask) {
            (Leaves::Mask, Mask::Label) => edited.push_str(MASK),
            (Leaves::Mask | Leaves::RestOfMask, Mask::Blocks) => {
                edited.extend(taken.chars().map(|_| BLOCK));
            }
            (Leaves::RestOfMask, Mask::Label) | (Leaves::Nothing, _) => {}
        }
        at = end;
    }
    edited.push_str(text.get(at..)?);
    if token.starts_with('{') {
        return Some(edited);
    }
    Some(serde_json::Value::from(edited).to_string())
}

fn replace(payload: &str, mut replaced: Vec<(Range<usize>, String)>) -> Option<String> {
    replaced.sort_by_key(|(place, _)| place.start);
    let mut spliced = String::with_capacity(payload.len());
    let mut at = 0;
    for (place, text) in replaced {
        spliced.push_str(payload.get(at..place.start)?);
        spliced.push_str(&text);
        at = place.end;
    }
    spliced.push_str(payload.get(at..)?);
    Some(spliced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(at: Range<usize>, leaves: Leaves) -> Cut {
        Cut { at, leaves }
    }

    #[test]
    fn joins_cuts_and_masks_each_span_once() {
        let cuts = disjoint(vec![
            cut(4..6, Leaves::Mask),
            cut(1..3, Leaves::RestOfMask),
            cut(2..4, Leaves::Mask),
        ]);
        assert_eq!(cuts, [cut(1..4, Leaves::Mask), cut(4..6, Leaves::Mask)]);
        let token = r#""a\u0062cdefg""#;
        let masked = |mask| without_cuts(token, &cuts, mask).unwrap();
        assert_eq!(masked(Mask::Label), r#""a[redacted][redacted]g""#);
        assert_eq!(masked(Mask::Blocks), r#""a█████g""#);
    }

    #[test]
    fn shows_the_mask_only_where_the_span_begins() {
        let of = |cut: &Range<u64>, span: &Range<u64>| cut_of(cut, span, Source::Content);
        assert_eq!(of(&(3..8), &(0..5)), Some(cut(3..5, Leaves::Mask)));
        assert_eq!(of(&(3..8), &(5..10)), Some(cut(0..3, Leaves::RestOfMask)));
        assert_eq!(of(&(3..8), &(8..9)), None);
    }

    #[test]
    fn keeps_lengths_where_a_span_is_cut_into_several_leaves() {
        let cuts = [cut(0..3, Leaves::RestOfMask)];
        assert_eq!(without_cuts(r#""禁x""#, &cuts, Mask::Blocks).unwrap(), r#""█x""#);
        assert_eq!(without_cuts(r#""禁x""#, &cuts, Mask::Label).unwrap(), r#""x""#);
        let all = [cut(0..usize::MAX, Leaves::Nothing)];
        assert_eq!(without_cuts(r#""abc""#, &all, Mask::Blocks).unwrap(), "\"\"");
    }
}
