//! The fields of one JSON object, to be asked for by name.

use std::{borrow::Cow, collections::HashMap};

use smallvec::SmallVec;

use super::{
    cursor::Cursor,
    json::{each_entry, string},
};

/// So many keys are compared with each other; what has more of them is looked up.
const FEW: usize = 16;

/// An object's fields in order, repeated keys included.
#[derive(Debug, Default)]
pub(super) struct Fields<'de> {
    entries: SmallVec<[(Cow<'de, str>, &'de str); 10]>,
    /// The text is one object to its end; else the fields are those before the break.
    pub(super) whole: bool,
}

// === impl Fields ===

impl<'de> Fields<'de> {
    /// Reads `raw`; it has no fields where that is no object.
    pub(super) fn read(raw: &'de str) -> Self {
        Self::read_plain(raw).unwrap_or_else(|| {
            let mut fields = Self::default();
            let entries = &mut fields.entries;
            fields.whole =
                each_entry(raw, |key, value| entries.push((key.to_owned().into(), value)));
            fields
        })
    }

    /// Reads plain JSON; `None` where it is not, beyond doubt.
    fn read_plain(raw: &'de str) -> Option<Self> {
        let mut fields = Self { whole: true, ..Self::default() };
        let mut cursor = Cursor::new(raw);
        cursor.object(|cursor, key| {
            let value = cursor.value()?;
            fields.entries.push((Cow::Borrowed(key), value));
            Some(())
        })?;
        cursor.end()?;
        Some(fields)
    }

    /// Takes out the values that a later one of the same key stands in the place of: clients read one or the other.
    pub(super) fn set_aside(&mut self) -> Vec<&'de str> {
        if !self.has_repeats() {
            return Vec::new();
        }
        let mut kept: HashMap<Cow<'de, str>, usize> = HashMap::new();
        let mut aside = Vec::new();
        for (key, raw) in std::mem::take(&mut self.entries) {
            if let Some((_, value)) = kept.get(&key).and_then(|&at| self.entries.get_mut(at)) {
                aside.push(std::mem::replace(value, raw));
            } else {
                kept.insert(key.clone(), self.entries.len());
                self.entries.push((key, raw));
            }
        }
        aside
    }

    fn has_repeats(&self) -> bool {
        let entries = &self.entries;
        if entries.len() > FEW {
            return true;
        }
        entries
            .iter()
            .enumerate()
            .any(|(at, (key, _))| entries.iter().skip(at + 1).any(|(later, _)| later == key))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'de str)> {
        self.entries.iter().map(|(key, value)| (&**key, *value))
    }

    /// The last value of a key, as clients read it.
    pub(super) fn get(&self, key: &str) -> Option<&'de str> {
        self.entries.iter().rev().find(|(known, _)| known == key).map(|&(_, value)| value)
    }

    pub(super) fn string(&self, key: &str) -> Option<Cow<'de, str>> {
        string(self.get(key)?)
    }

    pub(super) fn number(&self, key: &str) -> Option<u32> {
        self.get(key)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_last_value_and_all_of_them_in_order() {
        for raw in [r#"{"a":1,"b":"x","a":[2]}"#, r#"{"\u0061":1,"b":"x","a":[2]}"#] {
            let mut fields = Fields::read(raw);
            assert!(fields.whole);
            assert_eq!(
                fields.iter().collect::<Vec<_>>(),
                [("a", "1"), ("b", "\"x\""), ("a", "[2]")]
            );
            assert_eq!(fields.get("a"), Some("[2]"));
            assert_eq!(fields.string("b").unwrap(), "x");
            assert_eq!(fields.set_aside(), ["1"]);
            assert_eq!(fields.iter().collect::<Vec<_>>(), [("a", "[2]"), ("b", "\"x\"")]);
        }
        let broken = Fields::read(r#"{"a":1,"b":"#);
        assert_eq!((broken.whole, broken.number("a")), (false, Some(1)));
        assert_eq!(Fields::read("[1]").get("a"), None);
        let many: Vec<String> = (0..40).map(|at| format!("\"{}\":{at}", at % 39)).collect();
        assert_eq!(Fields::read(&format!("{{{}}}", many.join(","))).set_aside(), ["0"]);
    }
}
