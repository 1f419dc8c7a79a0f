//! The fold: one character at a time, so that no cut of the text can matter.
