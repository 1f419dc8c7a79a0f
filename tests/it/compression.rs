use std::io::Write;

use crate::support::{Gate, Script, Upstream};

const BODY: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello hello hello\"}}]}\n\ndata: [DONE]\n\n";

fn encodings() -> Vec<(&'static str, Vec<u8>)> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(BODY.as_bytes()).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(BODY.as_bytes()).unwrap();
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    raw.write_all(BODY.as_bytes()).unwrap();
    let mut brotli = Vec::new();
    brotli::CompressorWriter::new(&mut brotli, 4096, 5, 22).write_all(BODY.as_bytes()).unwrap();
    vec![
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", raw.finish().unwrap()),
        ("br", brotli),
        ("zstd", zstd::encode_all(BODY.as_bytes(), 3).unwrap()),
        ("made-up", BODY.as_bytes().to_vec()),
        // Says one thing and is another: it passes all the same, and is counted.
        ("gzip", BODY.as_bytes().to_vec()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_passes_as_it_came_in_shadow() {
    for (name, bytes) in encodings() {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {name}\r\n\
             etag: \"e\"\r\ncontent-length: {}\r\n\r\n",
            bytes.len()
        );
        let upstream = Upstream::start(Script::new().send(head).send(&bytes)).await;
        let gate = Gate::before(&upstream.url()).await;
        let mut client = gate.client().await;
        client.chat().await;
        let response = client.response().await;
        assert_eq!(response.body, bytes, "{name}");
        assert_eq!(response.header("content-encoding"), Some(name));
        assert_eq!(response.header("etag"), Some("\"e\""));
    }
}
