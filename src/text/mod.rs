//! Folding: text becomes comparable, with offsets back to the original.
