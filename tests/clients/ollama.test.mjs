// Ollama's own client: chat and generate, tool calls.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Ollama } from "ollama";

import { CANCELLED, FINISHED, assertNothingForbidden, testClient } from "./contract.mjs";
import { startRig } from "./rig.mjs";

let rig;
before(async () => (rig = await startRig()));
after(() => rig?.stop());

const clientOf = (rig) => new Ollama({ host: rig.baseURL.replace(/\/v1$/, "") });
const asked = (model, prompt, more) => ({ model, messages: [{ role: "user", content: prompt }], think: true, ...more });

async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

const textOf = (parts, read) => parts.map((part) => read(part) ?? "").join("");
const finishOf = (parts) => (parts.at(-1).done ? parts.at(-1).done_reason : undefined);
const seenChat = (parts) => ({
  answer: textOf(parts, (part) => part.message.content),
  thinking: textOf(parts, (part) => part.message.thinking),
  finish: finishOf(parts),
  raw: parts,
});
const seenGenerate = (parts) => ({
  answer: textOf(parts, (part) => part.response),
  thinking: textOf(parts, (part) => part.thinking),
  finish: finishOf(parts),
  raw: parts,
});

const chat = {
  styles: ["ollama"],
  showsThinking: ["ollama"],
  stream: async (rig, model, prompt) => seenChat(await collect(await clientOf(rig).chat(asked(model, prompt, { stream: true })))),
  whole: async (rig, model, prompt) => seenChat([await clientOf(rig).chat(asked(model, prompt))]),
  assertRefusal: (error) => {
    assert.equal(error.name, "ResponseError");
    assert.deepEqual([error.status_code, error.error], [400, "This response was stopped by a safety policy."]);
  },
};
testClient("ollama chat", chat, () => rig);

const generate = {
  ...chat,
  stream: async (rig, model, prompt) =>
    seenGenerate(await collect(await clientOf(rig).generate({ model, prompt, think: true, stream: true }))),
  whole: async (rig, model, prompt) => seenGenerate([await clientOf(rig).generate({ model, prompt, think: true })]),
};
testClient("ollama generate", generate, () => rig);

for (const story of ["unblocked-call", "blocked-call"]) {
  test(`ollama gets a call complete or not at all (${story})`, async () => {
    const model = rig.model("ollama", story);
    const { harmlessPrompt, tool, call, notice } = await rig.scenario(model);
    const parts = await collect(await clientOf(rig).chat(asked(model, harmlessPrompt, { stream: true, tools: [tool] })));
    const calls = parts.flatMap((part) => part.message.tool_calls ?? []).map((call) => call.function.arguments);
    if (story === "unblocked-call") {
      assert.deepEqual(calls, [JSON.parse(call)]);
      assert.deepEqual(await rig.tally(model), FINISHED);
    } else {
      const seen = seenChat(parts);
      assertNothingForbidden(seen);
      assert.deepEqual([calls, seen.answer, seen.finish], [[], notice, "content_filter"]);
      assert.deepEqual(await rig.tally(model), CANCELLED);
    }
  });
}
