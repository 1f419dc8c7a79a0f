//! Content-Encoding undone chunk by chunk, with a cap on what one chunk may become.

use std::io::{self, Write};

use brotli::DecompressorWriter;
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header::CONTENT_ENCODING};
use zstd::zstd_safe::DParameter;

/// How many encodings a body may be wrapped in. More than one is unheard of.
const MAX_LAYERS: usize = 3;

/// Compressed bytes that are decoded at a time, so that a small bomb is noticed before it has gone off.
const STEP: usize = 4096;

/// The largest window of zstd that HTTP allows (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// A body's encoding, as its head tells it.
#[derive(Debug)]
pub(super) enum Encoding {
    /// The bytes are what they are.
    Identity,
    /// They can be decoded by this.
    Known(Decoder),
    /// They cannot.
    Unknown,
}

/// Undoes a list of encodings.
pub(super) struct Decoder {
    /// The outermost encoding, the one that was applied last, first.
    layers: Vec<Layer>,
    /// Bytes that one step may become.
    cap: usize,
}

/// A chunk does not decode.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// The bytes are not of their encoding.
    #[error("body does not decode by its content encoding")]
    Corrupt,
    /// A few bytes became too many.
    #[error("body decodes to more than {cap} bytes at once")]
    TooLarge {
        /// The limit.
        cap: usize,
    },
}

enum Layer {
    Gzip(MultiGzDecoder<Sink>),
    /// `deflate` means zlib, but servers send it raw too: the first byte tells.
    Deflate {
        cap: usize,
    },
    Zlib(ZlibDecoder<Sink>),
    Raw(DeflateDecoder<Sink>),
    Brotli(Box<DecompressorWriter<Sink>>),
    Zstd(zstd::stream::write::Decoder<'static, Sink>),
}

/// Takes decoded bytes up to a cap.
struct Sink {
    bytes: Vec<u8>,
    cap: usize,
    overflowed: bool,
}

// === impl Encoding ===

impl Encoding {
    /// Reads the head; `cap` is how many bytes a few may become.
    pub(super) fn of(headers: &HeaderMap, cap: usize) -> Self {
        let mut layers = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            let Ok(value) = value.to_str() else { return Self::Unknown };
            for name in value.split(',').map(str::trim) {
                match Layer::of_name(name, cap) {
                    Some(Some(layer)) => layers.push(layer),
                    Some(None) => {}
                    None => return Self::Unknown,
                }
            }
        }
        if layers.len() > MAX_LAYERS {
            return Self::Unknown;
        }
        layers.reverse();
        if layers.is_empty() { Self::Identity } else { Self::Known(Decoder { layers, cap }) }
    }
}

// === impl Decoder ===

impl Decoder {
    /// Decodes `chunk`; `take` gets what comes out of it, piece by piece.
    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        mut take: impl FnMut(Bytes),
    ) -> Result<(), DecodeError> {
        for step in chunk.chunks(STEP) {
            let mut bytes = step.to_vec();
            for layer in &mut self.layers {
                bytes = layer.push(&bytes).map_err(|error| error.into_decode(self.cap))?;
            }
            if !bytes.is_empty() {
                take(bytes.into());
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Decoder").field("layers", &self.layers.len()).finish_non_exhaustive()
    }
}

/// A layer failed: by its cap, or by its bytes.
enum LayerError {
    Corrupt,
    TooLarge,
}

// === impl LayerError ===

impl LayerError {
    fn into_decode(self, cap: usize) -> DecodeError {
        match self {
            Self::Corrupt => DecodeError::Corrupt,
            Self::TooLarge => DecodeError::TooLarge { cap },
        }
    }
}

// === impl Layer ===

impl Layer {
    /// The layer that `name` stands for: `Some(None)` for none at all, `None` for an unknown one.
    fn of_name(name: &str, cap: usize) -> Option<Option<Self>> {
        let sink = Sink::new(cap);
        let layer = match name.to_ascii_lowercase().as_str() {
            "" | "identity" => return Some(None),
            "gzip" | "x-gzip" => Self::Gzip(MultiGzDecoder::new(sink)),
            "deflate" => Self::Deflate { cap },
            "br" => Self::Brotli(Box::new(DecompressorWriter::new(sink, STEP))),
            "zstd" => {
                let mut decoder = zstd::stream::write::Decoder::new(sink).ok()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
                Self::Zstd(decoder)
            }
            _ => return None,
        };
        Some(Some(layer))
    }

    fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, LayerError> {
        if let (Self::Deflate { cap }, Some(first)) = (&*self, bytes.first()) {
            // zlib's first byte names the method 8 in its low half.
            let sink = Sink::new(*cap);
            *self = if first & 15 == 8 {
                Self::Zlib(ZlibDecoder::new(sink))
            } else {
                Self::Raw(DeflateDecoder::new(sink))
            };
        }
        match self {
            Self::Gzip(decoder) => {
                let written = write_through(decoder, bytes);
                decoder.get_mut().take(written)
            }
            Self::Deflate { .. } => Ok(Vec::new()),
            Self::Zlib(decoder) => {
                let written = write_through(decoder, bytes);
                decoder.get_mut().take(written)
            }
            Self::Raw(decoder) => {
                let written = write_through(decoder, bytes);
                decoder.get_mut().take(written)
            }
            Self::Brotli(decoder) => {
                let written = write_through(decoder.as_mut(), bytes);
                decoder.get_mut().take(written)
            }
            Self::Zstd(decoder) => {
                let written = write_through(decoder, bytes);
                decoder.get_mut().take(written)
            }
        }
    }
}

fn write_through(decoder: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    decoder.write_all(bytes)?;
    decoder.flush()
}

// === impl Sink ===

impl Sink {
    fn new(cap: usize) -> Self {
        Self { bytes: Vec::new(), cap, overflowed: false }
    }

    fn take(&mut self, written: io::Result<()>) -> Result<Vec<u8>, LayerError> {
        match written {
            Ok(()) => Ok(std::mem::take(&mut self.bytes)),
            Err(_) if self.overflowed => Err(LayerError::TooLarge),
            Err(_) => Err(LayerError::Corrupt),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.cap {
            self.overflowed = true;
            return Err(io::Error::other("decoded too much"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
