"""What other detectors make of the rows of dev, for the card to show beside the default's figures.

Needs the detectors and not this folder's other packages: `pip install litellm fastapi`, then `python peers.py DIR [EVERY] > peers.json`; with EVERY only every so manieth text
of a channel is read.

* `litellm`: LiteLLM's content filter with every category of harm, bias, insult, abuse and prompt injection that it ships, each blocking.
* `keywords`: a text is flagged that holds one of the plain words below; what a team without a detector tends to begin with.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

CATEGORIES = (
    "harmful_self_harm", "harmful_violence", "harmful_illegal_weapons", "harmful_child_safety", "harm_toxic_abuse", "bias_gender", "bias_racial", "bias_religious",
    "bias_sexual_orientation", "denied_insults", "prompt_injection_jailbreak", "prompt_injection_system_prompt", "prompt_injection_malicious_code",
    "prompt_injection_data_exfiltration", "prompt_injection_sql",
)  # fmt: skip
WORDS = re.compile(
    r"\b(bombs?|explosives?|kill|murder|suicide|poison|cocaine|meth|heroin|hack(ing|er)?|malware|ransomware|phishing|steal|launder(ing)?|counterfeit|kidnap|rape|torture"
    r"|terroris[mt]s?|racist|nazi|slurs?|weapons?|shoplift|blackmail|forge|fraud|scam)\b|炸弹|毒品|杀人|自杀|诈骗|黑客|偷|强奸|枪支|洗钱|造谣|赌博",
    re.IGNORECASE,
)
CHANNELS = ("thinking", "answer", "prompt")


def litellm() -> Callable[[str], bool]:
    """Whether LiteLLM's filter blocks a text."""
    from fastapi import HTTPException
    from litellm.proxy.guardrails.guardrail_hooks.litellm_content_filter.content_filter import ContentFilterGuardrail

    chosen = [{"category": name, "enabled": True, "action": "BLOCK", "severity_threshold": "medium"} for name in CATEGORIES]
    guard = ContentFilterGuardrail(guardrail_name="peer", categories=chosen)
    print(f"litellm: {len(guard.loaded_categories)} of {len(CATEGORIES)} categories loaded", file=sys.stderr)

    def blocks(text: str) -> bool:
        try:
            guard._filter_single_text(text)
        except HTTPException:
            return True
        return False

    return blocks


def main() -> None:
    """Print by detector and channel the share of unsafe and of safe texts that are flagged."""
    with gzip.open(Path(sys.argv[1]) / "dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    every = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    found: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for name, flags in {"keywords": lambda text: WORDS.search(text) is not None, "litellm": litellm()}.items():
        for channel in CHANNELS:
            for lang in ("en", "zh"):
                texts = [row for row in rows if row[channel] and row[f"label_{channel}"] and row["lang"].lower().startswith(("zh", "chin") if lang == "zh" else "en")]
                shares: dict[str, float | int | None] = {}
                for label in ("unsafe", "safe"):
                    own = [flags(row[channel]) for row in [row for row in texts if row[f"label_{channel}"] == label][::every]]
                    shares[label] = len(own)
                    shares[f"{label}_flagged"] = round(sum(own) / len(own), 4) if own else None
                if texts:
                    found.setdefault(name, {})[f"{channel}/{lang}"] = shares
                    print(name, channel, lang, shares, file=sys.stderr, flush=True)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
