"""The shapes in which one and the same model's thinking leaves llama.cpp's server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOTICE = "This response was stopped by a safety policy."
PROMPT = "Who lives in the tower?"
PREFILL = "<think>\nLet me see."


@dataclass(frozen=True)
class Shape:
    name: str
    template: str
    """`blind.jinja` or `aware.jinja`. Both open `<think>` in the prompt; only the second renders earlier thinking, which
    is how the server learns that the model thinks at all."""
    reasoning_format: str
    prefill: bool = False
    """Whether the request ends with the beginning of the assistant's own message."""
    opening: str = ""
    """What the stream puts before the model's own text."""
    has_field: bool = False
    """Whether the thinking stands in `reasoning_content`; else in `content`."""

    @property
    def is_undecided(self) -> bool:
        """Whether nothing but a closing tag says that the text before it is thinking."""
        return not self.has_field and not self.opening

    def request(self, stream: bool, **more: object) -> dict:
        messages = [{"role": "user", "content": PROMPT}]
        if self.prefill:
            messages.append({"role": "assistant", "content": PREFILL})
        return {
            "model": "smollm2",
            "messages": messages,
            "stream": stream,
            "temperature": 0,
            "seed": 1,
            "max_tokens": 16,
            "reasoning_format": self.reasoning_format,
            # What a cache holds would show in the usage, and differ from one request to the next.
            "cache_prompt": False,
            **more,
        }


SHAPES = [
    # The server does not know that the template opens a tag, so only the closing one arrives, whatever the format:
    # what the R1 template gave on servers without a parser for it.
    Shape("close tag only", "blind.jinja", "none"),
    Shape("close tag only though a format is asked for", "blind.jinja", "deepseek"),
    # It knows the template, and puts the opening tag of the prompt back before the first token.
    Shape("both tags", "aware.jinja", "none", opening="<think>\n"),
    Shape("a field of its own", "aware.jinja", "deepseek", has_field=True),
    # A prefilled message switches the server's parser off.
    Shape("close tag only after a prefill", "aware.jinja", "deepseek", prefill=True),
]


def forced(text: str) -> dict:
    """Request fields that make the model say exactly this."""
    return {"grammar": f"root ::= {json.dumps(text)}", "max_tokens": 100}


ENDLESS_TOKENS = 200


def forced_without_end(text: str) -> dict:
    """The same, and then it goes on until it has used up `ENDLESS_TOKENS`."""
    return {"grammar": f'root ::= {json.dumps(text)} more\nmore ::= " and on" more', "max_tokens": ENDLESS_TOKENS}
