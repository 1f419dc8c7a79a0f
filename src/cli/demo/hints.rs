//! What `demo --serve` tells a person: where it listens, and lines to paste.

use std::net::SocketAddr;

use super::{
    paint::{Paint, Tone, pad},
    traces::Trace,
};

/// Where things are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    /// The proxy.
    pub(crate) listening: SocketAddr,
    /// The proxy's admin listener.
    pub(crate) admin: SocketAddr,
    /// The built-in upstream.
    pub(crate) upstream: &'a str,
    /// The proxy's mode.
    pub(crate) mode: &'a str,
}

/// The text that is printed once everything is up.
pub(crate) fn hints(paint: &Paint, places: Places<'_>, traces: &[Trace]) -> String {
    let Places { listening, admin, upstream, mode } = places;
    let head = |text: &str| paint.tone(Tone::Strong, text);
    let dim = |text: &str| paint.tone(Tone::Dim, text);
    let names: Vec<String> = traces
        .iter()
        .map(|trace| format!("  {}{}", pad(&trace.model(), 24), dim(&trace.title)))
        .collect();
    let names = names.join("\n");
    format!(
        "\
{listening_head}  http://{listening}  ({mode} mode)
{admin_head}  http://{admin}/metrics
{upstream_head}  {upstream}

{curl_head}
  curl -N http://{listening}/v1/chat/completions \\
    -H 'content-type: application/json' \\
    -d '{{\"model\":\"demo/workshop-scene\",\"stream\":true,
         \"messages\":[{{\"role\":\"user\",\"content\":\"anything\"}}]}}'
  curl -s http://{listening}/v1/models
  curl -s http://{admin}/metrics | grep thinkgate_findings_total

{python_head}
  from openai import OpenAI
  client = OpenAI(base_url=\"http://{listening}/v1\", api_key=\"none\")
  stream = client.chat.completions.create(
      model=\"demo/mail-drill\", stream=True,
      messages=[{{\"role\": \"user\", \"content\": \"anything\"}}])
  for chunk in stream:
      for choice in chunk.choices:
          print(choice.delta.content or \"\", end=\"\", flush=True)

{models_head}
{names}

{rest}
",
        listening_head = head("proxy   "),
        admin_head = head("metrics "),
        upstream_head = head("upstream"),
        curl_head = head("With curl"),
        python_head = head("With openai-python"),
        models_head = head("The model chooses the trace; the prompt is free"),
        rest = dim("Any other model name gets the next trace in turn. Ctrl-C ends it."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::traces;

    #[test]
    fn lines_fit_a_terminal() {
        let paint = Paint { colour: false, width: 80 };
        let address = SocketAddr::from(([127, 0, 0, 1], 65535));
        let places = Places {
            listening: address,
            admin: address,
            upstream: "http://127.0.0.1:65535",
            mode: "enforce",
        };
        let text = hints(&paint, places, &traces::all().unwrap());
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("http://127.0.0.1:65535/v1/chat/completions"), "{text}");
    }
}
