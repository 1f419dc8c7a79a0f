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
                if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                    continue;
                }
                let Some(layer) = Layer::of_name(name, cap) else { return Self::Unknown };
                layers.push(layer);
            }
        }
        if layers.len() > MAX_LAYERS {
            return Self::Unknown;
        }
        layers.reverse();
        if layers.is_empty() { Self::Identity } else { Self::Known(Decoder { layers, cap }) }
    }

    /// What undoes it, where something has to be undone and can be.
    pub(super) fn into_decoder(self) -> Option<Decoder> {
        match self {
            Self::Known(decoder) => Some(decoder),
            Self::Identity | Self::Unknown => None,
        }
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
    /// The layer that `name` stands for.
    fn of_name(name: &str, cap: usize) -> Option<Self> {
        let sink = Sink::new(cap);
        Some(match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Self::Gzip(MultiGzDecoder::new(sink)),
            "deflate" => Self::Deflate { cap },
            "br" => Self::Brotli(Box::new(DecompressorWriter::new(sink, STEP))),
            "zstd" => {
                let mut decoder = zstd::stream::write::Decoder::new(sink).ok()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).ok()?;
                Self::Zstd(decoder)
            }
            _ => return None,
        })
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
                let written = write_through(decoder, bytes).is_ok();
                decoder.get_mut().take(written)
            }
            Self::Deflate { .. } => Ok(Vec::new()),
            Self::Zlib(decoder) => {
                let written = write_through(decoder, bytes).is_ok();
                decoder.get_mut().take(written)
            }
            Self::Raw(decoder) => {
                let written = write_through(decoder, bytes).is_ok();
                decoder.get_mut().take(written)
            }
            Self::Brotli(decoder) => {
                let written = write_through(decoder.as_mut(), bytes).is_ok();
                decoder.get_mut().take(written)
            }
            Self::Zstd(decoder) => {
                let written = write_through(decoder, bytes).is_ok();
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

    fn take(&mut self, written: bool) -> Result<Vec<u8>, LayerError> {
        match (written, self.overflowed) {
            (true, _) => Ok(std::mem::take(&mut self.bytes)),
            (false, true) => Err(LayerError::TooLarge),
            (false, false) => Err(LayerError::Corrupt),
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "data: {\"choices\":[]}\n\ndata: na na na na na na na na\n\n";

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, value.parse().unwrap())])
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn raw(bytes: &[u8]) -> Vec<u8> {
        let mut out =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn brotli(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        ::brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(bytes).unwrap();
        out
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ::zstd::encode_all(bytes, 3).unwrap()
    }

    fn decode(name: &str, bytes: &[u8], step: usize, cap: usize) -> Result<Vec<u8>, DecodeError> {
        let Encoding::Known(mut decoder) = Encoding::of(&headers(name), cap) else {
            panic!("{name} is not known")
        };
        let mut text = Vec::new();
        for chunk in bytes.chunks(step) {
            decoder.push(chunk, |bytes| text.extend_from_slice(&bytes))?;
        }
        Ok(text)
    }

    #[test]
    fn every_encoding_decodes_however_it_is_cut() {
        let text = TEXT.as_bytes();
        for (name, bytes) in [
            ("gzip", gzip(text)),
            ("X-GZIP", gzip(text)),
            ("deflate", zlib(text)),
            ("deflate", raw(text)),
            ("br", brotli(text)),
            ("zstd", zstd(text)),
            ("gzip, identity , zstd", zstd(&gzip(text))),
            // Two members, one after the other, are one gzip file.
            ("gzip", [gzip(&text[..9]), gzip(&text[9..])].concat()),
        ] {
            for step in 1..=bytes.len() {
                let decoded = decode(name, &bytes, step, 1 << 20).unwrap();
                assert_eq!(decoded, text, "{name} in steps of {step}");
            }
        }
    }

    #[test]
    fn what_was_flushed_is_decoded_at_once() {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(b"first").unwrap();
        out.flush().unwrap();
        assert_eq!(decode("gzip", out.get_ref(), 4096, 1 << 20).unwrap(), b"first");
        let mut out = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        out.write_all(b"first").unwrap();
        out.flush().unwrap();
        assert_eq!(decode("zstd", out.get_ref(), 4096, 1 << 20).unwrap(), b"first");
        let mut out = ::brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
        out.write_all(b"first").unwrap();
        out.flush().unwrap();
        assert_eq!(decode("br", out.get_ref(), 4096, 1 << 20).unwrap(), b"first");
    }

    #[test]
    fn a_bomb_is_refused_before_it_has_gone_off() {
        let zeros = vec![0; 16 << 20];
        for (name, bytes) in [
            ("gzip", gzip(&zeros)),
            ("deflate", zlib(&zeros)),
            ("br", brotli(&zeros)),
            ("zstd", zstd(&zeros)),
        ] {
            let error = decode(name, &bytes, 64 << 10, 1 << 20).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge { cap: 1_048_576 }), "{name}: {error}");
        }
    }

    #[test]
    fn bytes_of_another_kind_are_an_error() {
        for name in ["gzip", "zstd", "br", "deflate"] {
            assert!(
                decode(name, b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 64, 1 << 20).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn unknown_names_and_long_lists_are_not_decoded() {
        for name in ["compress", "gzip, what", "gzip, gzip, gzip, gzip"] {
            assert!(matches!(Encoding::of(&headers(name), 1), Encoding::Unknown), "{name}");
        }
        for name in ["identity", ""] {
            assert!(matches!(Encoding::of(&headers(name), 1), Encoding::Identity), "{name}");
        }
    }
}
