//! Where in a JSON text one is, without reading its values.

/// Nesting and strings of a JSON text, byte by byte. Of broken JSON it tells something, and always the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Structure {
    depth: usize,
    string: Option<Within>,
}

/// Where in a string one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Plain,
    /// Behind a backslash.
    Escape,
}

// === impl Structure ===

impl Structure {
    /// Goes over the next byte; whether it closed the outermost object or array.
    pub(super) const fn step(&mut self, byte: u8) -> bool {
        match (self.string, byte) {
            (Some(Within::Plain), b'\\') => self.string = Some(Within::Escape),
            (Some(Within::Plain), b'"') => self.string = None,
            (Some(Within::Escape), _) | (None, b'"') => self.string = Some(Within::Plain),
            (None, b'{' | b'[') => self.depth += 1,
            (None, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            (Some(Within::Plain) | None, _) => {}
        }
        false
    }

    /// Whether one is inside of an object or an array.
    pub(super) const fn is_nested(&self) -> bool {
        self.depth > 0
    }

    pub(super) const fn is_in_string(&self) -> bool {
        self.string.is_some()
    }
}
