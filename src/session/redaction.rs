//! Masks spans in a frame, at every place where their text stands.

use std::ops::Range;

use bytes::Bytes;

use crate::{dialect::chunk::Source, wire::Frame};

use super::{
    choice::{Choice, Leaf, Shows},
    plan::MASK,
};

/// An array of logprob entries in a frame's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Array {
    /// Its place, brackets included.
    pub(super) json: Range<usize>,
    /// The places of its entries.
    pub(super) entries: Vec<Range<usize>>,
}

/// What becomes of one leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    leaf: usize,
    /// Bytes of the leaf's text to be taken out, and whether the mask stands there.
    cuts: Vec<(Range<usize>, bool)>,
    /// Whether the text is JSON itself, which must stay valid.
    is_json: bool,
}

/// The leaves that show something to be masked.
pub(super) fn edits(leaves: &[Leaf], choices: &[Choice]) -> Vec<Edit> {
    let edit = |(at, leaf): (usize, &Leaf)| {
        let (cuts, is_json) = match &leaf.shows {
            Shows::Alone(spans) => {
                let cuts = spans.iter().map(|span| (offsets(span, 0), true)).collect();
                (cuts, false)
            }
            Shows::Source { source, span } => {
                let source = choices.get(leaf.choice)?.sources.get(*source)?;
                let cuts = source.redactions.iter().filter_map(|cut| cut_of(cut, span)).collect();
                (cuts, matches!(source.kind, Source::ToolArguments(_)))
            }
        };
        let cuts = disjoint(cuts);
        (!cuts.is_empty()).then_some(Edit { leaf: at, cuts, is_json })
    };
    leaves.iter().enumerate().filter_map(edit).collect()
}

/// The part of `cut` that a leaf shows, in the leaf's own bytes; the mask stands where the span begins.
fn cut_of(cut: &Range<u64>, span: &Range<u64>) -> Option<(Range<usize>, bool)> {
    let begin = cut.start.max(span.start);
    let end = cut.end.min(span.end);
    (begin < end).then(|| (offsets(&(begin..end), span.start), begin == cut.start))
}

fn offsets(span: &Range<u64>, base: u64) -> Range<usize> {
    let offset = |at: u64| usize::try_from(at.saturating_sub(base)).unwrap_or(usize::MAX);
    offset(span.start)..offset(span.end)
}

/// Overlapping cuts joined into one.
fn disjoint(mut cuts: Vec<(Range<usize>, bool)>) -> Vec<(Range<usize>, bool)> {
    cuts.sort_by_key(|(cut, _)| cut.start);
    let mut joined: Vec<(Range<usize>, bool)> = Vec::with_capacity(cuts.len());
    for (cut, mask) in cuts {
        match joined.last_mut() {
            Some((last, last_mask)) if cut.start < last.end => {
                last.end = last.end.max(cut.end);
                *last_mask |= mask;
            }
            _ => joined.push((cut, mask)),
        }
    }
    joined
}

/// The frame with the edits made; `None` where a text cannot be edited safely.
pub(super) fn apply(
    frame: &Frame,
    leaves: &[Leaf],
    arrays: &[Array],
    edits: &[Edit],
) -> Option<Bytes> {
    let payload = std::str::from_utf8(frame.data()).ok()?;
    let mut replaced: Vec<(Range<usize>, String)> = Vec::with_capacity(edits.len());
    let mut dropped: Vec<Range<usize>> = Vec::new();
    for edit in edits {
        let json = &leaves.get(edit.leaf)?.json;
        if arrays.iter().any(|array| array.entries.contains(json)) {
            dropped.push(json.clone());
            continue;
        }
        replaced.push((json.clone(), masked(payload.get(json.clone())?, edit)?));
    }
    for array in
        arrays.iter().filter(|array| array.entries.iter().any(|entry| dropped.contains(entry)))
    {
        let kept = array.entries.iter().filter(|entry| !dropped.contains(entry));
        let kept: Option<Vec<&str>> = kept.map(|entry| payload.get(entry.clone())).collect();
        replaced.push((array.json.clone(), format!("[{}]", kept?.join(","))));
    }
    Some(frame.with_data(splice(payload, replaced)?.as_bytes()))
}

/// A JSON string token with the cuts made.
fn masked(token: &str, edit: &Edit) -> Option<String> {
    let text = crate::dialect::text_of_token(token)?;
    let mut edited = String::with_capacity(text.len() + MASK.len());
    let mut at = 0;
    for (cut, mask) in &edit.cuts {
        edited.push_str(text.get(at..cut.start)?);
        let taken = text.get(cut.clone())?;
        // Arguments are JSON: a cut through their structure would leave them broken.
        if edit.is_json && taken.contains(['"', '\\', '{', '}', '[', ']']) {
            return None;
        }
        if *mask {
            edited.push_str(MASK);
        }
        at = cut.end;
    }
    edited.push_str(text.get(at..)?);
    Some(serde_json::Value::from(edited).to_string())
}

fn splice(payload: &str, mut replaced: Vec<(Range<usize>, String)>) -> Option<String> {
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

    #[test]
    fn joins_cuts_and_masks_each_span_once() {
        let cuts = disjoint(vec![(4..6, true), (1..3, false), (2..4, true)]);
        assert_eq!(cuts, [(1..4, true), (4..6, true)]);
        let edit = Edit { leaf: 0, cuts, is_json: false };
        assert_eq!(masked(r#""a\u0062cdefg""#, &edit).unwrap(), r#""a[redacted][redacted]g""#);
    }

    #[test]
    fn shows_the_mask_only_where_the_span_begins() {
        assert_eq!(cut_of(&(3..8), &(0..5)), Some((3..5, true)));
        assert_eq!(cut_of(&(3..8), &(5..10)), Some((0..3, false)));
        assert_eq!(cut_of(&(3..8), &(8..9)), None);
    }

    #[test]
    fn refuses_to_cut_through_the_structure_of_arguments() {
        let edit = Edit { leaf: 0, cuts: vec![(1..4, true)], is_json: true };
        assert_eq!(masked(r#""{\"a\":1}""#, &edit), None);
        let edit = Edit { leaf: 0, cuts: vec![(2..3, true)], is_json: true };
        assert_eq!(masked(r#""{\"a\":1}""#, &edit).unwrap(), r#""{\"[redacted]\":1}""#);
    }
}
